"""`docs/clients.md`: its examples, which are the very clients of the run, and its table."""

import importlib.metadata
import pathlib
import platform
import re
import subprocess
import sys

import cases

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "clients.md"
BEGIN, END = "<!-- tests/clients/run --record -->\n", "<!-- end of the record -->\n"
# A comment that names a client, and the code under it.
EXAMPLE = re.compile(r"<!-- tests/clients/(read_\w+)\.py -->\n```python\n(.*?)```\n", re.DOTALL)
LIBRARIES = "astropy", "fsspec", "aiohttp", "s3fs", "rasterio", "zarr", "pmtiles"
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


def circumstances(gateway):
    version = subprocess.run([gateway, "--version"], capture_output=True, text=True).stdout.strip()
    libraries = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    return f"{version}; Python {platform.python_version()}, {', '.join(libraries)}."


def example(module):
    """The code of a client without its docstring."""
    return (HERE / f"{module}.py").read_text().split('"""\n', 1)[1].lstrip("\n")


def outdated(text):
    """Examples of the page that are not the code of the run."""
    found = dict(EXAMPLE.findall(text))
    for module in sorted(path.stem for path in HERE.glob("read_*.py")):
        if found.get(module) != example(module):
            yield f"{PAGE.name} has another {module}.py, or none: tests/clients/page.py --write"


def unrecorded(text):
    """Cases that the table of the page does not have."""
    for case in cases.CASES:
        if f"\n| {case.client} | {case.reads};" not in text:
            yield f"{PAGE.name} has no row of {case.client}: tests/clients/run --record"


def with_examples(text):
    def filled(match):
        module = match.group(1)
        return f"<!-- tests/clients/{module}.py -->\n```python\n{example(module)}```\n"

    return EXAMPLE.sub(filled, text)


def record(results, gateway):
    text = PAGE.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{PAGE} has no section between {BEGIN!r} and {END!r}")
    lines = "\n".join(table(results))
    PAGE.write_text(f"{before}{begin}\n{lines}\n\n{circumstances(gateway)}\n\n{end}{after}")


if __name__ == "__main__":
    # `--write` puts the code of the run into the page. Else the page is checked, with `--examples` but
    # for its table.
    page = PAGE.read_text()
    if "--write" in sys.argv:
        PAGE.write_text(page := with_examples(page))
    problems = list(outdated(page))
    if not {"--write", "--examples"} & set(sys.argv):
        problems += unrecorded(page)
    if problems:
        sys.exit("\n".join(problems))
