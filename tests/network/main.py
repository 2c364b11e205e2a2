"""Runs scenarios and prints a table of each. See `run`."""

import argparse
import shutil
import sys
import time
import traceback

import addresses  # noqa: F401, adds its scenarios
import answers  # noqa: F401, adds its scenarios
from lab import Lab
from scenario import SCENARIOS


class Report:
    """The figures and the broken targets of one scenario."""

    def __init__(self, has_nginx):
        self.has_nginx = has_nginx
        self.rows, self.broken = [], []

    def row(self, who, **figures):
        self.rows.append({"": who, **figures})

    def must(self, held, text):
        if not held:
            self.broken.append(text)

    def table(self):
        """In Markdown. Rows may have figures that others lack."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        lines = [columns, ["---"] * len(columns)]
        lines += [[str(row.get(name, "")) for name in columns] for row in self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("names", nargs="*", metavar="SCENARIO")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in SCENARIOS]
    if unknown:
        sys.exit(f"tests/network/run: no scenario {unknown[0]}; there are {', '.join(SCENARIOS)}")
    has_nginx = shutil.which("nginx") is not None
    if not has_nginx:
        print("SKIPPED: nginx is not installed, so that its figures are missing")
    failed = []
    with Lab(options.binary, options.folder) as lab:
        for name in options.names or SCENARIOS:
            title, run = SCENARIOS[name]
            report, started = Report(has_nginx), time.monotonic()
            lab.heal()
            try:
                run(lab, report)
            except Exception:
                report.broken.append(traceback.format_exc())
            took = time.monotonic() - started
            print(f"\n### {name}\n\n{title}.\n\n{report.table()}\n", flush=True)
            for text in report.broken:
                print(f"BROKEN: {text}", flush=True)
            print(f"{name}: {'FAILED' if report.broken else 'ok'} after {took:.0f} s", flush=True)
            failed += [name] if report.broken else []
    if failed:
        sys.exit(f"tests/network/run: failed: {', '.join(failed)}")


main()
