"""`docs/clients.md`: its examples, which are the very clients of the run, and its table."""

import importlib.metadata
import json
import pathlib
import platform
import re
import subprocess
import sys

import cases
import programs

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "clients.md"
BEGIN, END = "<!-- tests/clients/run --record -->\n", "<!-- end of the record -->\n"
BESIDE = "<!-- tests/clients/run --record: programs -->\n"
# A comment that names a client, and the code under it.
EXAMPLE = re.compile(r"<!-- tests/clients/(read_\w+\.\w+) -->\n```(\w+)\n(.*?)```\n", re.DOTALL)
LIBRARIES = "astropy", "fsspec", "aiohttp", "s3fs", "rasterio", "zarr", "pmtiles", "duckdb", "polars"
MIB = cases.MIB


def size(path):
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def amount(count):
    if not count:
        return "0 bytes"
    return f"{count / MIB:.1f} MiB" if count >= MIB / 10 else f"{count / 1024:.1f} KiB"


def cost(counted):
    """Requests and bytes with units, for readers."""
    asked = [(counted["gets"], "GET"), (counted["heads"], "HEAD")]
    asked = " + ".join(f"{count} {method}" for count, method in asked if count)
    return f"{asked or '0 requests'}, {amount(counted['bytes'])}"


def old(result):
    """The result of the old server, and the bytes it sent unless the client disconnected early."""
    outcome, count = result["old"]["outcome"], result["old"]["bytes"]
    whole = outcome == "works" or count >= result["size"]
    return f"{outcome} ({amount(count)})" if whole else outcome


def line(case, result):
    """One case for the terminal."""
    costs = [f"{name} {cost(result[name])}" for name in ("cold", "warm", "direct")]
    costs += [f"2.0.1 {old(result)}"] if "old" in result else []
    return f"{case.client}: {'; '.join(costs)}"


def table(results):
    yield "| client | reads | through s3proxy: cold | warm | direct to S3 | s3proxy 2.0.1 |"
    yield "|---|---|---|---|---|---|"
    for case, result in zip(cases.CASES, results, strict=True):
        reads = f"{case.reads}; `{case.key}`, {amount(result['size'])}"
        costs = [cost(result[name]) for name in ("cold", "warm", "direct")]
        cells = [case.client, reads, *costs, old(result)]
        yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def program_line(program, result):
    """One program for the terminal."""
    costs = [f"{name} {cost(result[name])}" for name in ("nginx", "cold", "warm")]
    return f"{program.client}: {'; '.join(costs)}; {ratio(result):.2f} times nginx's bytes"


def ratio(result):
    """Bytes from the store by those that nginx sent for the same read."""
    return result["cold"]["bytes"] / max(result["nginx"]["bytes"], 1)


def program_table(results, all_rows=True):
    """Rows of these results, and of the programs that are not among them."""
    yield "| client | reads | nginx sends | the store sends: cold | of nginx's bytes | warm |"
    yield "|---|---|---|---|---|---|"
    found = {result["case"]: result for result in results}
    for program in programs.PROGRAMS:
        reads, cells = f"{program.reads}; `{program.key}`", ["not measured"] * 4
        if result := found.get(program.client):
            nginx, cold, warm = (cost(result[name]) for name in ("nginx", "cold", "warm"))
            reads += f", {amount(result['size'])}"
            cells = [nginx, cold, f"{ratio(result):.2f}", warm]
        elif not all_rows:
            continue
        yield f"| {' | '.join([program.client, reads, *cells])} |"


def first_line(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout.strip().partition("\n")[0]


def circumstances(gateway):
    libraries = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    return f"{first_line(gateway, '--version')}; Python {platform.python_version()}, {', '.join(libraries)}."


def program_circumstances():
    """The versions of the programs, as they print them."""
    packages = json.loads((HERE / "package.json").read_text())["dependencies"]
    found = [
        " ".join(first_line("wget", "--version").split()[1:3]),
        " ".join(first_line("curl", "--version").split()[:2]),
        " ".join(first_line("ffmpeg", "-version").split()[:3:2]),
        f"pdf.js {packages['pdfjs-dist']}",
        f"pmtiles {packages['pmtiles']} (npm)",
    ]
    return f"{', '.join(found)}; duckdb and polars as above."


def example(name):
    """The code of a client without its docstring."""
    code = (HERE / name).read_text()
    return code.split('"""\n', 1)[1].lstrip("\n") if name.endswith(".py") else code


def outdated(text):
    """Examples of the page that are not the code of the run."""
    found = {name: code for name, _, code in EXAMPLE.findall(text)}
    for name in sorted(path.name for path in HERE.glob("read_*")):
        if found.get(name) != example(name):
            yield f"{PAGE.name} has another {name}, or none: tests/clients/page.py --write"


def unrecorded(text):
    """Cases that the table of the page does not have."""
    for case in cases.CASES:
        if f"\n| {case.client} | {case.reads};" not in text:
            yield f"{PAGE.name} has no row of {case.client}: tests/clients/run --record"
    for program in programs.PROGRAMS:
        if f"\n| {program.client} | {program.reads};" not in text:
            yield f"{PAGE.name} has no row of {program.client}: tests/clients/run --record"


def with_examples(text):
    def example_of(match):
        name, language, _ = match.groups()
        return f"<!-- tests/clients/{name} -->\n```{language}\n{example(name)}```\n"

    return EXAMPLE.sub(example_of, text)


def filled(text, begin, lines):
    """The text with these lines between this mark and the next end of a record."""
    before, begin, rest = text.partition(begin)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{PAGE} has no section between {begin!r} and {END!r}")
    return f"{before}{begin}\n{lines}\n\n{end}{after}"


def record(results, beside, gateway):
    text = PAGE.read_text()
    for begin, lines, where in [
        (BEGIN, table(results), circumstances(gateway)),
        (BESIDE, program_table(beside), program_circumstances()),
    ]:
        text = filled(text, begin, "\n".join([*lines, "", where]))
    PAGE.write_text(text)


if __name__ == "__main__":
    # `--write` puts the code of the run into the page. Else the page is checked, with `--examples` but
    # for its table.
    page = PAGE.read_text()
    if "--write" in sys.argv:
        page = with_examples(page)
        if BESIDE + "\n|" not in page:
            page = filled(page, BESIDE, "\n".join(program_table([])))
        PAGE.write_text(page)
    problems = list(outdated(page))
    if not {"--write", "--examples"} & set(sys.argv):
        problems += unrecorded(page)
    if problems:
        sys.exit("\n".join(problems))
