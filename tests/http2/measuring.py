"""What an attack costs the server, and what a client that behaves notices of it."""

import json
import math
import pathlib
import subprocess
import sys
import time

import slow  # noqa: F401  (registers its attacks)
from attacks import ATTACKS, Attack
from verdicts import HUGE, LARGE, SMALL
from wire import Connection, Wrong

# How the server is configured: each time-out is short, so that the run is.
DOWNSTREAM = "header_timeout: 2s, keepalive_timeout: 4s, write_timeout: 3s"


class Neighbour:
    """The client that behaves."""

    def __init__(self, stack, server, length):
        command = [sys.executable, pathlib.Path(__file__).parent / "neighbour.py"]
        command += [str(server.tls_port), server.prefix + SMALL, str(length)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.callback(self.process.wait)
        stack.callback(self.process.stdin.close)

    def begin(self):
        print("begin", file=self.process.stdin, flush=True)

    def end(self):
        print("end", file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


def percentile(times, part):
    return sorted(times)[max(0, math.ceil(part * len(times)) - 1)] if times else math.inf


def calm(server):
    """Waits until the server is at rest, beside the other client."""
    for _ in range(25):
        before = server.cpu()
        time.sleep(0.2)
        if server.cpu() - before <= 0.1:
            return True
    return False


def measure(server, neighbour, one, slowest):
    """Runs an attack. A row of the table, and what was wrong."""
    calm(server)
    server.forget_peak()
    before, cpu, log = server.memory(), server.cpu(), server.log.stat().st_size
    neighbour.begin()
    begun = time.monotonic()
    wrong = []
    try:
        said = one.run(server)
    except (Wrong, OSError, KeyError) as error:
        said = f"{type(error).__name__}: {error}"
        wrong.append(said)
    seconds = time.monotonic() - begun
    while time.monotonic() < begun + 0.5:
        time.sleep(0.05)
    found = neighbour.end()
    used, grown = server.cpu() - cpu, server.memory("VmHWM") - before
    p99 = percentile(found["times"], 0.99)
    if server.process.poll() is not None:
        raise SystemExit(f"{one.name}: the server has ended: {server.said()[-2000:]}")
    if found["failed"] or len(found["times"]) < 10:
        wrong.append(f"the other client: {len(found['times'])} requests, {found['failed']} failed: {found['wrong']}")
    if p99 > slowest:
        wrong.append(f"the other client: p99 {p99:.0f} ms, at most {slowest}")
    if grown > one.memory:
        wrong.append(f"memory: {grown:.0f} MiB more, at most {one.memory}")
    if server.log.stat().st_size - log > 2**18:
        wrong.append(f"the log grew by {server.log.stat().st_size - log} bytes")
    if not calm(server):
        wrong.append("the server is busy after the attack")
    row = (one.name, said, f"{seconds:.1f}", f"{used:.1f}", f"{max(0, grown):.0f}", f"{p99:.0f}", len(found["times"]))
    return row, [f"{one.name}: {each}" for each in wrong]


def run(stack, server, length, only="", slowest=500):
    """All attacks, and what was wrong."""
    warm = Connection(server.tls_port, keep_bodies=False).open()
    for name in SMALL, LARGE, HUGE:
        warm.get(server.prefix + name, seconds=30)
    warm.close()
    neighbour = Neighbour(stack, server, length)
    rows, failures = [], []
    chosen = [one for one in ATTACKS if only in one.name]
    quiet = Attack("nobody", lambda _: time.sleep(1) or "", 24)
    for one in [quiet, *chosen]:
        row, wrong = measure(server, neighbour, one, slowest)
        print("  ".join(map(str, row)), *(f"\nFAILED {each}" for each in wrong), flush=True)
        rows.append(row)
        failures += wrong
    return rows, failures
