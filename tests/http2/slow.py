"""Attacks by clients that are slow, or silent. All must have been ended in time."""

import contextlib
import time

from attacks import FLOOD, attack, ending
from verdicts import HUGE, LARGE, SMALL
from wire import *  # noqa: F403
from wire import Connection, Wrong

SOON = 10  # seconds: within which the short time-outs of the server must have had their effect
BY_RATE = 50  # seconds: the same for the minimum rate, which is averaged over at least 30 s


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


def full(prefix, connection, name, limit=200):
    """As many requests as the connection may have at a time; the numbers of their streams."""
    number = min(limit, connection.server_settings.get(MAX_CONCURRENT_STREAMS, limit))
    streams = range(1, 2 * number, 2)
    connection.pump(b"".join(request(stream, prefix + name) for stream in streams))
    return streams


def all_ended(connection):
    return connection.closed or all(connection.ended(stream) for stream in connection.mine)


def slow_readers(server, own, number, each=lambda connection: None, seconds=SOON, every=0.5, prefix=None):
    """Connections with as many requests as they may have, which open their windows by `each`."""
    options = {"own": own, "replenish": False, "keep_bodies": False}
    with crowd(number, lambda: Connection(server.tls_port, **options).open()) as all_of_them:
        for connection in all_of_them:
            connection.mine = full(prefix or server.prefix, connection, HUGE)
        streams = sum(len(connection.mine) for connection in all_of_them)
        said = f"ended after {must_end(all_of_them, all_ended, seconds, each, every):.1f} s"
        received = sum(answer.received for connection in all_of_them for answer in connection.answers.values())
        return f"{streams} streams {said} and {received} bytes: {ending(all_of_them[0])}"


@attack("windows of 0, the most streams on 8 connections", memory=96)
def _(server):
    return slow_readers(server, {INITIAL_WINDOW_SIZE: 0}, 8)


@attack("a window of 0 of the connection alone", memory=96)
def _(server):
    return slow_readers(server, {INITIAL_WINDOW_SIZE: 2**24}, 8)


def one_byte(connection):
    for stream in connection.mine:
        if not connection.ended(stream):
            connection.grant(stream, 1)


@attack("windows of one byte, one byte a second, of answers that hold a permit of the store", memory=96)
def _(server):
    return slow_readers(server, {INITIAL_WINDOW_SIZE: 1}, 2, one_byte, BY_RATE, 1, prefix=server.uncached)


# They hold memory of the cache alone, and their places among `downstream.max_connections`.
@attack("windows of one byte, one byte a second, of cached answers, the most streams on 4 connections", memory=48)
def _(server):
    return slow_readers(server, {INITIAL_WINDOW_SIZE: 1}, 4, one_byte, BY_RATE, 1)


def one_byte_of_all(connection):
    connection.grant(0, 1)


@attack("a window of the connection that opens by one byte a second, of cached answers, the most streams on 4 connections", memory=48)
def _(server):
    return slow_readers(server, {INITIAL_WINDOW_SIZE: 2**24}, 4, one_byte_of_all, BY_RATE, 1)


@attack("nothing is read from the socket, the most streams on 8 connections", memory=96)
def _(server):
    with crowd(8, lambda: Connection(server.tls_port, own={INITIAL_WINDOW_SIZE: 2**24}, buffer=4096).open()) as all_of_them:
        for connection in all_of_them:
            connection.mine = full(server.prefix, connection, HUGE)
            connection.flood(window(0, 2**30), 1, read=False)
        time.sleep(6)
        for connection in all_of_them:
            # What had been sent before is still read.
            connection.replenish, connection.keep_bodies = False, False
        seconds = 6 + must_end(all_of_them, all_ended, 2 * SOON)
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
