"""See tests/http2/run."""

import argparse
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile

import conformance
import measuring
import programs
import shutdown
from lab import Gateway, Nginx, prepare
from verdicts import SMALL
from wire import Wrong

ROOT = pathlib.Path(__file__).resolve().parents[2]
PARTS = ["cases", "clients", "attacks", "shutdown"]
END = "<!-- end of the record -->"


def record(page, part, lines):
    """Writes lines behind the mark of this part."""
    path, mark = ROOT / "docs" / page, f"<!-- tests/http2/run --record: {part} -->"
    text = path.read_text()
    before, after = text.split(mark, 1)
    path.write_text(f"{before}{mark}\n\n" + "\n".join(lines) + f"\n\n{END}" + after.split(END, 1)[1])


def run_cases(options, server, name, bodies):
    counts, failures, seconds = conformance.run(server, name, bodies, options.only)
    counts["all"] = [sum(each) for each in zip(*counts.values())]
    cases = counts["all"][0]
    lines = ["| specification, section | cases | of them: PROTOCOL_ERROR in place of a code that says more | known deviations |", "|---|---|---|---|"]
    lines += [f"| {chapter} | {' | '.join(map(str, numbers))} |" for chapter, numbers in counts.items()]
    print("\n".join(lines), *(f"FAILED {failure}" for failure in failures), sep="\n")
    print(f"cases: {cases - len(failures)} of {cases} as expected, {seconds:.1f} s", flush=True)
    if options.record and not failures and not options.only:
        record("testing.md", "cases", lines)
    return failures


def run_attacks(options, stack, server, bodies):
    rows, failures = measuring.run(stack, server, len(bodies[SMALL]), options.only)
    print(f"attacks: {len(rows) - 1}, {len(failures)} bounds broken", flush=True)
    if options.record and not failures and not options.only:
        lines = ["| attack | outcome | s | CPU s | MiB more | p99 of another client, ms |", "|---|---|---|---|---|---|"]
        lines += [f"| {' | '.join(map(str, row[:-1]))} |" for row in rows]
        record("performance.md", "attacks", lines)
    return failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gateway", required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--direct-hits", choices=["true", "false"], default="true")
    parser.add_argument("--nginx", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("parts", nargs="*", metavar="PART")
    options = parser.parse_args()
    parts = options.parts or (["cases"] if options.nginx else PARTS)
    failed = []
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s3proxy-http2.")))
        bodies, store = prepare(stack, folder, os.path.abspath(options.store))

        def start(name, downstream=""):
            if options.nginx:
                return Nginx(stack, folder)
            return Gateway(stack, folder, os.path.abspath(options.gateway), store, name, downstream, options.direct_hits)

        if "cases" in parts or "clients" in parts:
            server = start("gateway")
            store.take()
            if "cases" in parts:
                failed += run_cases(options, server, "nginx" if options.nginx else "gateway", bodies)
                never = {asked["path"] for asked in store.take() if "never" in asked["path"]}
                if len(never) > len(conformance.REACH_THE_STORE):
                    failed.append(f"requests that must be refused reached the store: {sorted(never)}")
            if "clients" in parts:
                failed += programs.run(server, bodies)
        if "attacks" in parts:
            failed += run_attacks(options, stack, start("attacked", measuring.DOWNSTREAM), bodies)
        if "shutdown" in parts:
            try:
                print(f"ok shutdown: {shutdown.run(start('ending'), bodies)}")
            except (Wrong, OSError, subprocess.TimeoutExpired) as error:
                failed.append(f"shutdown: {error}")
    if failed:
        sys.exit("\n".join(["", "tests/http2/run: FAILED:", *failed]))


if __name__ == "__main__":
    main()
