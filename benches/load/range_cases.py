"""The cost of reading large objects for each peer: random ranges, sequential ranges, and whole objects."""

import random
import subprocess
import sys
import time

import cases
import slow
import stage

KIB, MIB = 2**10, 2**20
PART = 64 * KIB
STRIDE = 8 * MIB  # of a reader that asks for one range after the other
CONNECTIONS = 1, 16, 64
WARMING = 3  # times that everything is read, at most, before it must be cached
LIMIT = 600  # s, for all concurrent transfers of curl


def key(size, number=0):
    return f"big/{size}-{number}.fits"


def whole(path, size):
    """The transfer of an object: its key, the first byte asked for, and how many should come."""
    return path, None, size


def strides(path, size):
    """The transfers of a reader that asks for consecutive ranges."""
    return [(path, first, min(STRIDE, size - first)) for first in range(0, size, STRIDE)]


def scattered(path, size, count, seed):
    """Transfers of parts at random, every other one from a multiple of its length on."""
    dice = random.Random(seed)
    for nth in range(count):
        aligned = PART * dice.randrange(size // PART)
        yield path, aligned if nth % 2 else dice.randrange(size - PART + 1), PART


def curl(server, transfers, connections=1):
    """Makes these transfers; the seconds that all of them took, and each. Ends the run unless every
    answer has its status and its length."""
    lines = []
    for nth, (path, first, length) in enumerate(transfers):
        lines += ["next"] if nth else []
        lines += ["silent", "show-error", f'url = "{server.url(path)}"', 'output = "/dev/null"']
        lines += [f'range = "{first}-{first + length - 1}"'] if first is not None else []
        lines += [f'write-out = "{nth} %{{http_code}} %{{size_download}} %{{time_total}}\\n"']
    command = ["curl", "--config", "-"]
    if connections > 1:
        command += ["--parallel", "--parallel-immediate", "--parallel-max", str(connections)]
    started = time.monotonic()
    ended = subprocess.run(
        command, input="\n".join(lines), capture_output=True, text=True, timeout=LIMIT
    )
    elapsed = time.monotonic() - started
    answers = {}
    for line in ended.stdout.splitlines():
        nth, status, received, seconds = line.split()
        answers[int(nth)] = int(status), int(received), float(seconds)
    for nth, (path, first, length) in enumerate(transfers):
        expected = 200 if first is None else 206, length
        if answers.get(nth, ())[:2] != expected:
            sys.exit(
                f"{server.name}, {path} from {first}: {answers.get(nth)} rather than {expected}:"
                f" {ended.stderr}"
            )
    return elapsed, [seconds for _, _, seconds in answers.values()]


def row(server, requests, received, seconds, p50, p99, user, system, asked, sent):
    """The numbers of a case; times in microseconds, `received` in bytes."""
    return {
        **cases.row(server, requests, seconds, p50, p99, user, system, asked, sent),
        # Less than one tick of the clock is no time at all.
        "gb_per_core": received / 1e9 / max(user + system, 1 / stage.TICKS),
        "received_mib": received / MIB,
        "store_asked": float(asked),
        "store_mib": sent / MIB,
        "peak_mib": server.peak() / MIB,
    }


def rank(seconds, share):
    """The time in microseconds that this share of all stay under."""
    ordered = sorted(seconds)
    return 1e6 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def read(server, store, transfers, connections=1):
    """Makes these transfers by curl."""
    transfers = list(transfers)
    (elapsed, times), *costs = cases.measured(
        server, store, lambda: curl(server, transfers, connections)
    )
    received = sum(length for _, _, length in transfers)
    ranks = rank(times, 0.5), rank(times, 0.99)
    return row(server, len(transfers), received, elapsed, *ranks, *costs)


def warm(server, store, path, size):
    """Reads everything until the store receives no request; a later check verifies that it is cached."""
    for _ in range(WARMING):
        curl(server, [whole(path, size)])
        before = store.counts()
        curl(server, strides(path, size))
        if store.counts() == before:
            return


def compare(server, store, path, size, seed):
    """Refuses answers that are not the store's, byte for byte: at the ends, across the border of a
    block, and anywhere."""
    dice = random.Random(seed)
    anywhere = [dice.randrange(size - PART) for _ in range(5)]
    for first in (0, MIB - 100, size // 2 - 1, size - PART, *anywhere):
        asked = {"Range": f"bytes={first}-{first + PART - 1}"}
        found, expected = (
            (status, headers["Content-Range"], headers["ETag"], body)
            for status, headers, body in (
                each.ask(each.base + path, asked) for each in (server, store)
            )
        )
        if found != expected or found[0] != 206:
            sys.exit(f"{server.name}, {path}, {asked}: {found[:3]} rather than {expected[:3]}")


def warm_random(server, store, path, size, connections, seconds, warming, seed):
    """Parts at random, by wrk."""
    arguments = size, PART, seed

    def wrk(duration):
        how = {"connections": connections, "script": "ranges.lua", "arguments": arguments}
        return cases.wrk(server, path, duration, **how)

    if warming:
        wrk(warming)
    seen, *costs = cases.measured(server, store, lambda: wrk(seconds))
    requests = seen["requests"]
    if requests == 0 or seen["broken"] or seen["not_2xx"] or seen["wrong"]:
        sys.exit(f"{server.name}, {path}: not every answer is the part asked for: {seen}")
    elapsed = seen["microseconds"] / 1e6
    return row(server, requests, requests * PART, elapsed, seen["p50"], seen["p99"], *costs)


def warm_cases(servers, store, size, passes, seconds, warming, number):
    """Everything is cached: no request may reach the store."""
    path = key(size)
    for server in servers:
        compare(server, store, path, size, number)
    for place, connections in enumerate(CONNECTIONS):
        for server in cases.turn(servers, number + place):
            timing = seconds, warming, number
            found = warm_random(server, store, path, size, connections, *timing)
            yield f"warm random, {connections}", PART, server, found
    for server in cases.turn(servers, number):
        yield "warm whole", size, server, read(server, store, [whole(path, size)] * passes)
    for server in cases.turn(servers, number + 1):
        yield "warm in a row", STRIDE, server, read(server, store, strides(path, size) * passes)


def cold_random(server, store, size, count, number):
    """Random ranges of an object that is not cached."""
    path = key(size, number + 1)
    found = read(server, store, scattered(path, size, count, number), connections=16)
    compare(server, store, path, size, number)
    return found


def cold_whole(server, store, size, number):
    """The whole of an object that is not cached."""
    path = key(size, number + 1)
    found = read(server, store, [whole(path, size)])
    compare(server, store, path, size, number)
    return found


def slow_readers(server, store, size, readers, seconds, number):
    """Clients that each read a big object of their own, slowly, and leave in the middle."""
    paths = [key(size, readers * (number + 1) + nth) for nth in range(readers)]
    (taken, first_bytes), *costs = cases.measured(
        server, store, lambda: slow.read(server, paths, size, seconds)
    )
    for path, (_, beginning) in zip(paths, taken):
        asked = {"Range": f"bytes=0-{len(beginning) - 1}"}
        if beginning != store.ask(store.base + path, asked)[2]:
            sys.exit(f"{server.name}, {path}: a slow reader did not get what the store has")
    ranks = rank(first_bytes, 0.5), rank(first_bytes, 0.99)
    total = sum(count for count, _ in taken)
    return row(server, readers, total, seconds, *ranks, *costs)
