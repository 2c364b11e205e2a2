"""The cost of one kind of answer for each peer: hits, cached 404s, 304s, revalidations and misses."""

import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
import time

CONNECTIONS = 16
# Until an entry with max-age=1 is stale for every peer: nginx counts whole seconds.
STALE_AFTER = 2.2
MIB = 2**20
LIMIT = 900  # s, for all concurrent requests of the viewers


def key(size, number=0):
    return f"hit/{size}-{number}.webp"


MISSING = "hit/missing-0.webp"


def measured(server, store, run):
    """The result of `run`, and its cost: user and system seconds of the server, requests to the
    store and bytes of bodies from there."""
    before = *server.cpu(), *store.counts()
    result = run()
    after = *server.cpu(), *store.counts()
    return result, *(b - a for a, b in zip(before, after))


def wrk(
    server, path, seconds, headers=(), connections=CONNECTIONS, script="report.lua", arguments=()
):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s"]
    command += [pathlib.Path(__file__).parent / script]
    for header in headers:
        command += ["-H", header]
    command += [server.url(path), "--", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30)
    lines = [line for line in ended.stdout.splitlines() if line.startswith("JSON ")]
    if not lines:
        sys.exit(f"wrk failed: {ended.stdout}{ended.stderr}")
    return json.loads(lines[0].removeprefix("JSON "))


def viewers(binary, server, *arguments, watch=lambda: None):
    """The report of the clients that are written in Rust; `watch` is called every second."""
    command = [binary, f"127.0.0.1:{server.port}", server.base, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    deadline = time.monotonic() + LIMIT
    with subprocess.Popen([str(part) for part in command], **pipes) as process:
        try:
            output = None
            while output is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    output, errors = process.communicate(timeout=1)
                if time.monotonic() > deadline:
                    sys.exit(f"{server.name}: the viewers have not ended after {LIMIT} s")
                watch()
        finally:
            process.kill()
    if process.returncode or not output:
        sys.exit(f"{server.name}: the viewers failed ({command[3:]}): {errors}")
    seen = json.loads(output)
    if seen["wrong"]:
        sys.exit(f"{server.name}: {seen['wrong']} answers are wrong ({command[3:]}): {seen['statuses']}")
    return seen


def row(server, requests, seconds, p50, p99, user, system, asked, sent):
    return {
        "requests": requests,
        "requests_per_second": requests / seconds,
        "cpu_us": 1e6 * (user + system) / requests,
        "cpu_user_us": 1e6 * user / requests,
        "cpu_system_us": 1e6 * system / requests,
        "p50_ms": p50 / 1000,
        "p99_ms": p99 / 1000,
        "memory_mib": server.memory() / MIB,
        "store_requests": asked / requests,
        "store_bytes": sent / requests,
    }


def repeated(server, store, path, seconds, warm, headers=(), status=200):
    """One object again and again, by wrk."""
    if warm:
        wrk(server, path, warm, headers)
    seen, *costs = measured(server, store, lambda: wrk(server, path, seconds, headers))
    requests = seen["requests"]
    refused = requests - seen["not_2xx"] if status == 404 else seen["not_2xx"]
    # wrk does not distinguish a 304 from a 200; the length does.
    whole = status == 304 and requests and seen["bytes"] / requests > 1000
    if requests == 0 or seen["broken"] or refused or whole:
        sys.exit(f"{server.name}, {path}: not every answer is a {status}: {seen}")
    elapsed = seen["microseconds"] / 1e6
    return row(server, requests, elapsed, seen["p50"], seen["p99"], *costs)


def each_once(runs, server):
    """The row of several runs of `viewers once`, as `measured` has them."""
    seen = [run[0] for run in runs]
    return row(
        server,
        sum(run["requests"] for run in seen),
        sum(run["microseconds"] for run in seen) / 1e6,
        *(statistics.median(run["all"][what] for run in seen) for what in ("p50", "p99")),
        *(sum(costs) for costs in list(zip(*runs))[1:]),
    )


def once(binary, server, store, prefix, size, first, count):
    arguments = "once", prefix, size, first, count, CONNECTIONS
    return measured(server, store, lambda: viewers(binary, server, *arguments))


def turn(servers, number):
    """The peers in another order each time, so that other load of the machine affects all of them."""
    start = number % len(servers)
    return servers[start:] + servers[:start]


def hits(servers, store, sizes, seconds, warm, number):
    for place, size in enumerate(sizes):
        for server in turn(servers, number + place):
            yield "hit", size, server, repeated(server, store, key(size), seconds, warm)


def missing(servers, store, seconds, warm, number):
    for server in turn(servers, number):
        yield "404", 0, server, repeated(server, store, MISSING, seconds, warm, status=404)


def not_modified(servers, store, size, seconds, warm, number):
    for server in turn(servers, number):
        etag = server.ask(server.base + key(size))[1]["ETag"]
        headers = [f"If-None-Match: {etag}"]
        yield "304", size, server, repeated(
            server, store, key(size), seconds, warm, headers, status=304
        )


def revalidations(binary, servers, store, sizes, cache_mib, passes, number):
    """Every stale object once in each pass; the passes of the peers follow each other."""
    for place, size in enumerate(sizes):
        count = min(10_000, cache_mib * MIB // 4 // size)
        arguments = "short/", size, 0, count
        for server in servers:
            once(binary, server, store, *arguments)
        runs = {server.name: [] for server in servers}
        for nth in range(passes):
            time.sleep(STALE_AFTER)
            for server in turn(servers, number + place + nth):
                runs[server.name].append(once(binary, server, store, *arguments))
        for server in servers:
            yield "revalidation", size, server, each_once(runs[server.name], server)


def misses(binary, servers, store, sizes, mib, number):
    """Objects that are not cached, `mib` MiB of each size."""
    for place, size in enumerate(sizes):
        count = min(10_000, mib * MIB // size)
        for server in turn(servers, number + place):
            run = once(binary, server, store, "miss/", size, number * count, count)
            yield "miss", size, server, each_once([run], server)
