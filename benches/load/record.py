"""The conditions of a load run, and the files with its results."""

import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

import chart
import stage

DOCS = stage.ROOT / "docs"
END = "<!-- end of the record -->\n"


def first_line(*command):
    if shutil.which(command[0]) is None:
        return "not installed"
    ended = subprocess.run(command, capture_output=True, text=True, cwd=stage.ROOT, timeout=60)
    return (ended.stdout + ended.stderr).strip().partition("\n")[0]


def machine(gateway):
    """The commands and the machine of a run."""
    cpus = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ")[1] for line in cpus if line.startswith("model name")), "?")
    return {
        "commit": first_line("git", "describe", "--always", "--dirty"),
        "gateway": first_line(gateway, "--version"),
        "nginx": first_line("nginx", "-v"),
        "cpu": f"{os.cpu_count()} x {model}",
        "kernel": platform.release(),
    }


def results(folder, result, table, charts):
    """Writes all numbers as JSON, the table as text and the charts (SVG by name), and prints the table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "table.txt").write_text(table)
    for name, svg in charts.items():
        (folder / name).write_text(svg)
    print(table)
    print(f"details: {folder}")


def page(command, table, charts):
    """Puts the charts and the table between this command's marks in docs/performance.md."""
    path = DOCS / "performance.md"
    mark = f"<!-- {command} --record -->\n"
    before, begin, rest = path.read_text().partition(mark)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{path} has no section between {mark!r} and {END!r}")
    images = "".join(f"![{chart.title(svg)}](performance/{name})\n\n" for name, svg in charts.items())
    code = "".join(f"    {line}".rstrip() + "\n" for line in table.splitlines())
    path.write_text(f"{before}{begin}\n{images}{code}\n{end}{after}")
    (DOCS / "performance").mkdir(exist_ok=True)
    for name, svg in charts.items():
        (DOCS / "performance" / name).write_text(svg)
