"""Attacks by HTTP/2: what each costs the server, and what a client that behaves notices of it.

Each attack returns one line on its outcome, or raises `Wrong` where its own bound is broken. `measure` holds all of them
to the bounds of memory, CPU afterwards, the log, and the other client.
"""

import contextlib
import dataclasses
import json
import math
import pathlib
import subprocess
import sys
import time

from verdicts import HUGE, LARGE, SMALL
from wire import *  # noqa: F403
from wire import Connection, Wrong, window

# How the server of the attacks is configured: each time-out is short, so that the run is.
DOWNSTREAM = "header_timeout: 2s, keepalive_timeout: 4s, write_timeout: 3s"
SOON = 10  # seconds: within which these time-outs must have had their effect
BY_RATE = 50  # seconds: the same for the minimum rate, which is averaged over at least 30 s
FLOOD = 3  # seconds that one flood lasts at most

ATTACKS = []


@dataclasses.dataclass
class Attack:
    name: str
    run: object
    memory: float  # MiB that the peak may lie above the memory before


def attack(name, memory=24):
    def register(run):
        ATTACKS.append(Attack(name, run, memory))
        return run

    return register


def ending(connection):
    if connection.goaway:
        return f"GOAWAY {code_name(connection.goaway[1])}"
    return "closed" if connection.closed else "open"


def tell(sent, unit, endings):
    """`40000 streams; 3 connections: 2 GOAWAY ENHANCE_YOUR_CALM, 1 open`"""
    counted = {each: endings.count(each) for each in dict.fromkeys(endings)}
    ends = ", ".join(f"{number} {each}" for each, number in counted.items())
    return f"{sent} {unit}; {len(endings)} connection{'s' if len(endings) > 1 else ''}: {ends}"


def flood(server, blob, unit, size, begin=b"", read=True, connections=200, seconds=FLOOD, total=None):
    """Sends these bytes again and again on connection after connection, until `total` units of `size` bytes have been
    accepted, or the time is over."""
    total = total or len(blob) // size
    deadline, sent, endings = time.monotonic() + seconds, 0, []
    while sent < total and len(endings) < connections and (left := deadline - time.monotonic()) > 0:
        options = {} if read else {"buffer": 4096}
        try:
            connection = Connection(server.tls_port, **options).open()
        except (Wrong, OSError):
            endings.append("refused")
            continue
        with connection:
            connection.pump(begin)
            whole = len(blob) - len(blob) % size
            sent += connection.flood(memoryview(blob)[:min(whole, (total - sent) * size)], left, read) // size
            if read:
                connection.pump(until=lambda: connection.closed, seconds=0.3)
            endings.append(ending(connection))
    return tell(sent, unit, endings)


def pairs(number, make):
    """The bytes for this many streams, all of one length: `make(stream)` has a four-byte number of the stream."""
    return b"".join(make(stream) for stream in range(1, 2 * number, 2))


def short(server):
    """A header block of few bytes, once its fields are in the table."""
    first = headers(1, indexed(2) + indexed(7) + literal(4, server.prefix + SMALL, 0x40) + literal(1, NAME, 0x40))
    return first, indexed(2) + indexed(7) + indexed(63) + indexed(62)


# Requests that are given up.


@attack("rapid reset: 100,000 streams")
def _(server):
    first, again = short(server)
    blob = b"".join(headers(stream, again) + reset(stream) for stream in range(3, 200_003, 2))
    return flood(server, blob, "streams", len(headers(1, again) + reset(1)), begin=first, seconds=10, total=100_000)


@attack("rapid reset, each of another object")
def _(server):
    def pair(stream):
        return request(stream, f"{server.prefix}none-{stream:06}.png") + reset(stream)

    if server.store:
        server.store.take()
    said = flood(server, pairs(20_000, pair), "streams", len(pair(1)), seconds=6)
    if not server.store:
        return said
    asked = len(server.store.take())
    if asked > 4000:
        raise Wrong(f"{asked} requests reached the store: {said}")
    return f"{said}; {asked} requests at the store"


@attack("resets that the server is made to send: WINDOW_UPDATE of 0")
def _(server):
    first, again = short(server)
    blob = b"".join(headers(stream, again) + window(stream, 0) for stream in range(3, 40_003, 2))
    return flood(server, blob, "streams", len(headers(1, again) + window(1, 0)), begin=first)


@attack("requests that are malformed")
def _(server):
    bad = block(fields("/", ("Upper", "x")))
    return flood(server, pairs(20_000, lambda stream: headers(stream, bad)), "streams", len(headers(1, bad)))


@attack("HEADERS without a field")
def _(server):
    return flood(server, pairs(50_000, lambda stream: headers(stream, b"")), "streams", 9)


# Frames that cost the client nothing.

for name, one, number in [
    ("PING", ping(), 300_000),
    ("SETTINGS", settings((HEADER_TABLE_SIZE, 100)) + settings((HEADER_TABLE_SIZE, 4096)), 100_000),
    ("empty SETTINGS", settings(), 300_000),
    ("WINDOW_UPDATE", window(0, 1), 300_000),
    ("frames of an unknown kind", frame(0x42, 0, 0, b""), 300_000),
    ("GOAWAY", goaway(), 100_000),
]:
    def flooded(server, name=name, one=one, number=number):
        return flood(server, one * number, "frames", len(one))

    attack(name)(flooded)


@attack("PRIORITY of idle streams")
def _(server):
    return flood(server, pairs(300_000, lambda stream: priority(stream)), "frames", 14)


@attack("PRIORITY_UPDATE of idle streams")
def _(server):
    def one(stream):
        return frame(PRIORITY_UPDATE, 0, 0, stream.to_bytes(4, "big") + b"u=0, i")

    return flood(server, pairs(200_000, one), "frames", len(one(1)))


@attack("RST_STREAM of streams that have ended")
def _(server):
    first, _ = short(server)
    return flood(server, reset(1) * 300_000, "frames", 13, begin=first)


@attack("empty DATA")
def _(server):
    begin = request(1, server.prefix + SMALL, end=False, method="POST")
    return flood(server, data(1) * 300_000, "frames", 9, begin=begin)


@attack("PING, and no answer is read")
def _(server):
    return flood(server, ping() * 300_000, "frames", 17, read=False, connections=3)


@attack("SETTINGS, and no answer is read")
def _(server):
    return flood(server, settings() * 500_000, "frames", 9, read=False, connections=3)


# Heads.


def endless_head(server, piece, number, unit):
    begin = headers(1, block(fields(server.prefix + SMALL)), flags=0)
    connection = Connection(server.tls_port).open()
    with connection:
        connection.pump(begin)
        sent = connection.flood(continuation(1, piece, end=False) * number, SOON)
        connection.pump(until=lambda: connection.closed, seconds=SOON)
        if not connection.closed:
            raise Wrong(f"a head of {sent} bytes and no end is not refused: {connection}")
        return tell(sent // (9 + len(piece)), unit, [ending(connection)])


@attack("CONTINUATION without end: empty")
def _(server):
    return endless_head(server, b"", 1_000_000, "frames")


@attack("CONTINUATION without end: one field each")
def _(server):
    return endless_head(server, literal("x-test", "a" * 50), 100_000, "frames")


@attack("CONTINUATION without end: 16 KiB each")
def _(server):
    return endless_head(server, literal("x-test", "a" * 16000), 3000, "frames")


def bomb(server, name, value, references, connections=4, streams=60):
    """One field in the table, and many references to it in each head."""
    endings, answers = [], []
    for _ in range(connections):
        connection = Connection(server.tls_port).open()
        with connection:
            first = block(fields(server.prefix + "never-bomb.png"))
            connection.pump(headers(1, first + literal(name, value, 0x40)))
            again = headers(3, first + indexed(62) * references)
            sent = b"".join(again[:5] + stream.to_bytes(4, "big") + again[9:] for stream in range(3, 3 + 2 * streams, 2))
            last = 1 + 2 * streams
            connection.pump(sent, lambda: connection.ended(last) or connection.closed, SOON)
            connection.settle()
            endings.append(ending(connection))
            answers += [answer.status for stream, answer in connection.answers.items() if stream > 1]
            if any(status < 400 for status in answers):
                raise Wrong(f"a bomb is answered {set(answers)}")
    statuses = ", ".join(f"{answers.count(status)} answers {status}" for status in sorted(set(answers))) or "no answers"
    return f"{tell(connections * streams, f'heads of {references * len(value) // 2**20} MiB', endings)}; {statuses}"


@attack("header bomb: a field of 4 KiB, 15,000 times in a head")
def _(server):
    return bomb(server, "x-bomb", "a" * 4000, 15_000)


@attack("header bomb: a Cookie of 4 KiB, 15,000 times in a head")
def _(server):
    return bomb(server, "cookie", "a" * 4000, 15_000)


@attack("header bomb: 15,000 fields of one byte in a head")
def _(server):
    return bomb(server, "x", "", 15_000)


# Clients that are slow, or silent. `crowd` opens them; all must have been ended in time.


@contextlib.contextmanager
def crowd(number, opened):
    """This number of connections, opened one after the other."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(opened()) for _ in range(number)]


def must_end(connections, done, seconds, each=lambda connection: None, every=0.5):
    """Waits until `done` holds of each connection. Between, `each` is called on those that are left."""
    begun, left, turn = time.monotonic(), list(connections), time.monotonic()
    while left:
        if time.monotonic() > begun + seconds:
            raise Wrong(f"{len(left)} of {len(connections)} have not ended after {seconds} s, the first: {left[0]}")
        for connection in left:
            connection.pump(until=lambda: True, seconds=0)
        left = [connection for connection in left if not done(connection)]
        if time.monotonic() >= turn:
            turn += every
            for connection in left:
                each(connection)
        time.sleep(0.02)
    return time.monotonic() - begun


def is_closed(connection):
    return connection.closed


@attack("connections that say nothing, 100")
def _(server):
    with crowd(100, lambda: Connection(server.tls_port, preface=False)) as all_of_them:
        return f"ended after {must_end(all_of_them, is_closed, SOON):.1f} s"


@attack("connections that send half of the preface, 100")
def _(server):
    with crowd(100, lambda: Connection(server.tls_port, preface=False)) as all_of_them:
        for connection in all_of_them:
            connection.pump(PREFACE[:10])
        return f"ended after {must_end(all_of_them, is_closed, SOON):.1f} s"


@attack("connections without a request, 100")
def _(server):
    with crowd(100, lambda: Connection(server.tls_port).open()) as all_of_them:
        return f"ended after {must_end(all_of_them, is_closed, SOON):.1f} s"


@attack("heads that never end, 100")
def _(server):
    with crowd(100, lambda: Connection(server.tls_port).open()) as all_of_them:
        for connection in all_of_them:
            connection.pump(headers(1, block(fields(server.prefix + SMALL)), flags=0))
        seconds = must_end(all_of_them, lambda each: each.closed or each.ended(1), SOON)
        return f"ended after {seconds:.1f} s: {ending(all_of_them[0])}"


@attack("heads that come byte by byte, 50")
def _(server):
    def more(connection):
        connection.pump(continuation(1, b"", end=False), seconds=0)

    with crowd(50, lambda: Connection(server.tls_port).open()) as all_of_them:
        for connection in all_of_them:
            connection.pump(headers(1, block(fields(server.prefix + SMALL)), flags=0))
        seconds = must_end(all_of_them, lambda each: each.closed or each.ended(1), SOON, more)
        return f"ended after {seconds:.1f} s: {ending(all_of_them[0])}"


@attack("bodies of requests that never come, 50")
def _(server):
    with crowd(50, lambda: Connection(server.tls_port).open()) as all_of_them:
        for connection in all_of_them:
            connection.pump(request(1, server.prefix + SMALL, ("content-length", "5"), end=False))
        seconds = must_end(all_of_them, lambda each: each.closed or each.ended(1), SOON)
        return f"ended after {seconds:.1f} s"


def full(server, connection, name, limit=200):
    """As many requests as the connection may have at a time; the numbers of their streams."""
    number = min(limit, connection.server_settings.get(MAX_CONCURRENT_STREAMS, limit))
    streams = range(1, 2 * number, 2)
    connection.pump(b"".join(request(stream, server.prefix + name) for stream in streams))
    return streams


def all_ended(connection):
    return connection.closed or all(connection.ended(stream) for stream in connection.mine)


def slow_readers(server, own, number, each=lambda connection: None, seconds=SOON, every=0.5, **options):
    options = {"own": own, "replenish": False, "keep_bodies": False, **options}
    with crowd(number, lambda: Connection(server.tls_port, **options).open()) as all_of_them:
        for connection in all_of_them:
            connection.mine = full(server, connection, HUGE)
        took = must_end(all_of_them, all_ended, seconds, each, every)
        streams = sum(len(connection.mine) for connection in all_of_them)
        received = sum(answer.received for connection in all_of_them for answer in connection.answers.values())
        return f"{streams} streams on {number} connections ended after {took:.1f} s and {received} bytes: {ending(all_of_them[0])}"


@attack("windows of 0, the most streams on 8 connections", memory=96)
def _(server):
    return slow_readers(server, {INITIAL_WINDOW_SIZE: 0}, 8)


@attack("a window of 0 of the connection alone", memory=96)
def _(server):
    return slow_readers(server, {INITIAL_WINDOW_SIZE: 2**24}, 8)


@attack("windows of one byte, one byte a second, the most streams on 4 connections", memory=96)
def _(server):
    def one_byte(connection):
        for stream in connection.mine:
            if not connection.ended(stream):
                connection.grant(stream, 1)

    return slow_readers(server, {INITIAL_WINDOW_SIZE: 1}, 4, one_byte, BY_RATE, 1)


@attack("nothing is read from the socket, the most streams on 8 connections", memory=96)
def _(server):
    with crowd(8, lambda: Connection(server.tls_port, own={INITIAL_WINDOW_SIZE: 2**24}, buffer=4096).open()) as all_of_them:
        for connection in all_of_them:
            connection.mine = full(server, connection, HUGE)
            connection.flood(window(0, 2**30), 1, read=False)
        time.sleep(6)
        for connection in all_of_them:
            # What had been sent before is still read.
            connection.replenish, connection.keep_bodies = False, False
        seconds = 6 + must_end(all_of_them, all_ended, SOON)
        received = max(sum(a.received for a in connection.answers.values()) for connection in all_of_them)
        if received > 2**25:
            raise Wrong(f"{received} bytes came on one connection: it was not ended")
        return f"ended after {seconds:.1f} s, {received / 2**20:.1f} MiB on one connection"


@attack("more streams than the limit, 50 times as many", memory=48)
def _(server):
    connection = Connection(server.tls_port, own={INITIAL_WINDOW_SIZE: 0}, replenish=False).open()
    with connection:
        limit = connection.server_settings.get(MAX_CONCURRENT_STREAMS, 100)
        number = 50 * limit
        head = block(fields(server.prefix + LARGE))
        connection.flood(b"".join(headers(stream, head) for stream in range(1, 2 * number, 2)), FLOOD)
        connection.settle()
        begun = sum(answer.status == 200 for answer in connection.answers.values())
        if begun > limit:
            raise Wrong(f"{begun} streams at once, the limit is {limit}")
        return f"{number} streams, {begun} answers begun, {len(connection.resets)} refused; {ending(connection)}"


# Measuring.


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
