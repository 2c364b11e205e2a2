"""Reads files with the clients that people use, through the gateway, and from the store itself or from
nginx, and counts what reaches the store. `tests/clients/run --help` says how to run it."""

import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

import beside
import cases
import client
import data
import page
import program_files
import programs
import servers

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE = 120  # seconds for one read
# Not checked here: it shows that a token disturbs neither the cache nor the signature.
HEADER = "Authorization", "Bearer gt-token"


class Reader:
    """Runs one client after the other, each as a process without this one's environment."""

    def __init__(self, folder, store):
        endpoint = f"127.0.0.1:{store.port}"
        keys = {"KEY": store.access_key, "SECRET": store.secret_key}
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "FSSPEC_S3_ENDPOINT_URL": f"http://{endpoint}",
            **{f"FSSPEC_S3_{name}": value for name, value in keys.items()},
            "AWS_S3_ENDPOINT": endpoint,
            "AWS_HTTPS": "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": store.access_key,
            "AWS_SECRET_ACCESS_KEY": store.secret_key,
        }

    def run(self, case, url, options):
        """The digest of the data, or None; and the last line of the error, if there is one."""
        command = [sys.executable, HERE / "client.py", case.module, url, json.dumps(options)]
        try:
            ended = subprocess.run(
                command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            return None, f"not done after {PATIENCE} s"
        if ended.returncode:
            return None, (ended.stderr.strip() or f"status {ended.returncode}").splitlines()[-1]
        return ended.stdout.strip(), ""

    def over_http(self, case, url):
        headers = {"client_kwargs": {"headers": dict([HEADER])}}
        if case.gdal:
            url, headers = f"/vsicurl/{url}", {"GDAL_HTTP_HEADERS": ": ".join(HEADER)}
        return self.run(case, url, case.http_options | headers)

    def over_s3(self, case):
        url = f"/vsis3/data/{case.key}" if case.gdal else f"s3://data/{case.key}"
        return self.run(case, url, case.s3_options)


def read_through(case, reader, gateway, store, expected, problems):
    """A cold and a warm read through this gateway."""
    result = {}
    for name in "cold", "warm":
        found, problem = reader.over_http(case, gateway.url(case.key))
        if found != expected:
            problems.append(f"{name}: {problem or 'wrong data'}")
        result[name] = beside.counts(store.take()) | {"cache": gateway.counters()}
    if said := gateway.said():
        problems.append(f"the gateway warns: {said}")
    return result


def judge(case, result):
    """The limits that were exceeded."""
    for name, requests, mib in [("cold", case.requests, case.mib), ("warm", 0, 0)]:
        cost = result[name]
        if cost["heads"] + cost["gets"] > requests or cost["bytes"] > mib * cases.MIB:
            yield f"{name}: {page.cost(cost)}; at most {requests} requests and {mib} MiB are right"
    if not result["cold"]["gets"] or not result["cold"]["bytes"]:
        yield "cold: nothing reached the store, so nothing was counted"


def measure_old(case, reader, old, expected):
    """The results of a server that answers as 2.0.1 does."""
    before = old.server.bytes
    found, problem = reader.over_http(case, old.url(case.key))
    # The first sentence, without this run's port and the module that the exception is of.
    problem = problem.replace(f"/vsicurl/{old.url(case.key)}", case.key).split(". ")[0].rstrip(".")
    problem = re.sub(r"^[\w.]+\.(\w+: )", r"\1", problem)
    outcome = "works" if found == expected else f"fails: {problem or 'wrong data'}"
    return {"outcome": outcome, "bytes": old.server.bytes - before}


def measure(options, folder, stack):
    """The results of the libraries, and those of the programs."""
    bucket = folder / "store" / "data"
    bucket.mkdir(parents=True)
    libraries, wanted = (
        [case for case in group if not options.only or options.only in case.client]
        for group in (cases.CASES, programs.PROGRAMS)
    )
    expected = data.make(bucket) if libraries else {}
    digests = program_files.make(bucket, beside.HERE) if wanted else {}
    store = servers.Store(stack, options.store, bucket.parent)
    return (
        measure_libraries(options, folder, stack, store, bucket, libraries, expected),
        beside.measure(options, folder, store, bucket, wanted, digests) if wanted else [],
    )


def measure_libraries(options, folder, stack, store, bucket, libraries, expected):
    reader = Reader(folder, store)
    old = servers.Old(stack, bucket) if options.old else None
    results = []
    for case in libraries:
        problems, right = [], client.digest(expected[case.key])
        found, problem = reader.over_s3(case)
        if found != right:
            problems.append(f"direct: {problem or 'wrong data'}")
        result = {"case": case.client, "direct": beside.counts(store.take())}
        # Each has a gateway of its own, so that its first read is a cold one.
        with contextlib.ExitStack() as own:
            gateway = servers.Gateway(own, options.gateway, folder, store, max_object="1MiB")
            result |= read_through(case, reader, gateway, store, right, problems)
        if not options.measure:
            problems += judge(case, result)
        if old:
            result["old"] = measure_old(case, reader, old, right)
        result |= {"size": page.size(bucket / case.key), "problems": problems}
        results.append(result)
        print(page.line(case, result), flush=True)
        for problem in problems:
            print(f"  WRONG: {problem}", flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateway", type=pathlib.Path, required=True)
    parser.add_argument("--store", type=pathlib.Path, required=True)
    parser.add_argument("--packages", type=pathlib.Path, required=True)
    parser.add_argument("--results", type=pathlib.Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--old", action="store_true")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    if options.record and (options.measure or options.only):
        parser.error("only a whole run that holds the bounds is recorded")
    options.old |= options.record
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as stack:
        folder = tempfile.TemporaryDirectory(prefix="s3proxy-clients.")
        folder = pathlib.Path(stack.enter_context(folder))
        libraries, wanted = measure(options, folder, stack)
    options.results.write_text(json.dumps(libraries + wanted, indent=1) + "\n")
    if wanted:
        print("\n".join(["", *page.program_table(wanted, all_rows=False)]))
    print(f"every request: {options.results}")
    if any(result["problems"] for result in libraries + wanted):
        sys.exit("tests/clients/run: some results are wrong, see WRONG above")
    if options.record:
        page.record(libraries, wanted, options.gateway)


if __name__ == "__main__":
    main()
