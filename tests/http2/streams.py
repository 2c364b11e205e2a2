"""Cases of RFC 9113, sections 5 and 6.9, and RFC 9218: the states of streams, windows, priorities."""

import time

from verdicts import (
    HUGE, LARGE, SMALL, TILES, answered, case, closed_by_end, closed_by_reset, connection_error, half_closed, idle, is_open, must,
    of_connection, of_stream, right, stream_error, table, works,
)
from wire import *  # noqa: F403

# 5.1: the states of a stream.


def rest_follows(lab, connection):
    """Once its window opens, the stream gets the rest of its body."""
    connection.settle()
    must(not connection.ended(1) and not connection.closed, connection)
    answer = connection.answers[1]
    connection.replenish = True
    if answer.received:
        connection.grant(0, answer.received)
    connection.grant(1, 65535)
    connection.pump(until=lambda: connection.ended(1))
    right(lab, answer, LARGE)


def others_follow(lab, connection):
    """Another request is answered, once windows are open."""
    connection.initial_window, connection.replenish = 65535, True
    connection.pump(settings((INITIAL_WINDOW_SIZE, 65535)))
    works(lab, connection)


table(
    half_closed, rest_follows,
    ("5.1", "WINDOW_UPDATE on a half-closed stream", window(1, 1)),
    ("5.1", "PRIORITY on a half-closed stream", priority(1)),
    ("5.5", "an unknown frame on a half-closed stream", frame(0xEE, 0, 1, b"1234")),
    ("6.8", "GOAWAY of the client: its requests in flight are answered", goaway(0, NO_ERROR, b"leaving")),
)


table(
    half_closed, others_follow,
    ("5.1", "RST_STREAM on a half-closed stream", reset(1)),
    ("7", "RST_STREAM with a code that nobody knows", reset(1, 0xFF)),
)


table(
    half_closed, of_stream,
    ("5.1", "DATA on a half-closed stream", data(1, b"test", True), STREAM_CLOSED),
    ("5.1", "HEADERS on a half-closed stream", lambda lab: request(1, lab.path(SMALL)), STREAM_CLOSED),
    ("6.9", "WINDOW_UPDATE of 0 on a stream", window(1, 0), PROTOCOL_ERROR),
    ("6.9.1", "a window of a stream beyond 2147483647", window(1, 2**31 - 1) * 2, FLOW_CONTROL_ERROR),
)
table(
    half_closed, of_connection,
    ("5.1", "CONTINUATION on a half-closed stream", continuation(1, literal("a", "b")), STREAM_CLOSED, PROTOCOL_ERROR),
    ("5.1.1", "a stream below the last one", lambda lab: request(5, lab.path(SMALL)) + request(3, lab.path(SMALL)), PROTOCOL_ERROR, STREAM_CLOSED),
    ("6.4", "RST_STREAM of 3 bytes", frame(RST_STREAM, 0, 1, bytes(3)), FRAME_SIZE_ERROR),
    ("6.9.2", "INITIAL_WINDOW_SIZE that takes an open window beyond 2147483647", window(1, 2**31 - 1) + settings((INITIAL_WINDOW_SIZE, 65535)), FLOW_CONTROL_ERROR),
)
table(
    closed_by_reset, of_stream,
    ("5.1", "DATA behind RST_STREAM", data(1, b"test", True), STREAM_CLOSED),
    ("5.1", "HEADERS behind RST_STREAM", lambda lab: request(1, lab.path(SMALL)), STREAM_CLOSED, PROTOCOL_ERROR),
)
table(
    closed_by_reset, of_connection,
    ("5.1", "CONTINUATION behind RST_STREAM", continuation(1, literal("a", "b")), STREAM_CLOSED, PROTOCOL_ERROR),
)
table(
    closed_by_end, of_connection,
    ("5.1", "HEADERS on a closed stream", lambda lab: request(1, lab.path(SMALL)), STREAM_CLOSED, PROTOCOL_ERROR),
    ("5.1", "CONTINUATION on a closed stream", continuation(1, literal("a", "b")), STREAM_CLOSED, PROTOCOL_ERROR),
)
table(
    closed_by_end, of_stream,
    ("5.1", "DATA on a closed stream", data(1, b"test", True), STREAM_CLOSED),
)
table(
    closed_by_end, works,
    ("5.1", "PRIORITY on a closed stream", priority(1)),
    ("5.1", "WINDOW_UPDATE on a stream that has just ended", window(1, 1000)),
    ("5.1", "RST_STREAM on a stream that has just ended", reset(1)),
)
table(
    is_open, of_connection,
    ("4.2", "DATA longer than MAX_FRAME_SIZE", data(1, bytes(16385)), FRAME_SIZE_ERROR),
    ("6.1", "DATA with more padding than payload", frame(DATA, PADDED | END_STREAM, 1, b"\x17test"), PROTOCOL_ERROR),
    ("6.10", "CONTINUATION behind DATA", data(1, b"test") + continuation(1, literal("a", "b")), PROTOCOL_ERROR, STREAM_CLOSED),
)


@case("7", "GOAWAY with a code that nobody knows: the connection may end, without an error")
def _(lab):
    connection = lab.open()
    connection.pump(goaway(0, 0xFF))
    connection.settle()
    must(connection.goaway is None or connection.goaway[1] == NO_ERROR, connection)


@case("4.2", "DATA of 16384 bytes")
def _(lab):
    connection = is_open(lab)
    connection.pump(data(1, bytes(16384)))
    works(lab, connection)


@case("6.1", "DATA in several frames, with padding")
def _(lab):
    connection = is_open(lab)
    connection.pump(data(1, b"a") + frame(DATA, PADDED, 1, b"\4b" + bytes(4)) + data(1, b"") + frame(DATA, PADDED, 1, b"\0"))
    works(lab, connection)


@case("6.3", "PRIORITY of 4 bytes")
def _(lab):
    connection = half_closed(lab)
    connection.pump(frame(PRIORITY, 0, 1, bytes(4)))
    stream_error(connection, 1, FRAME_SIZE_ERROR)


@case("6.3", "a stream that depends on itself is ignored, or an error of the stream")
def _(lab):
    connection = half_closed(lab)
    connection.pump(priority(1, 1))
    connection.settle()
    must(not connection.closed or connection.goaway and connection.goaway[1] == PROTOCOL_ERROR, connection)
    must(connection.resets.get(1, PROTOCOL_ERROR) == PROTOCOL_ERROR, connection)


@case("5.1.1", "the highest number that a stream can have")
def _(lab):
    connection = lab.open()
    right(lab, connection.get(lab.path(SMALL), stream=2**31 - 1), SMALL)


@case("5.1.2", "one stream more than MAX_CONCURRENT_STREAMS is refused")
def _(lab):
    connection = lab.open(own={INITIAL_WINDOW_SIZE: 0}, replenish=False)
    limit = connection.server_settings.get(MAX_CONCURRENT_STREAMS)
    must(limit is not None and limit <= 1000, f"a limit: {connection.server_settings}")
    streams = range(1, 2 * limit + 2, 2)
    connection.pump(b"".join(request(stream, lab.path(LARGE)) for stream in streams))
    last = streams[-1]
    stream_error(connection, last, REFUSED_STREAM, PROTOCOL_ERROR, ENHANCE_YOUR_CALM)
    must(connection.closed or not any(stream in connection.resets for stream in streams[:-1]), connection)


@case("5.1.2", "places of streams that have ended are free again")
def _(lab):
    connection = lab.open()
    limit = min(300, connection.server_settings.get(MAX_CONCURRENT_STREAMS, 300))
    for begin in range(1, 6 * limit, 2 * limit):
        streams = range(begin, begin + 2 * limit, 2)
        connection.pump(b"".join(request(stream, lab.path(SMALL)) for stream in streams), lambda: all(map(connection.ended, streams)))
        must(all(connection.answers.get(stream) and connection.answers[stream].status == 200 for stream in streams), connection)


@case("5.4.1", "GOAWAY names the last stream that was answered")
def _(lab):
    connection = lab.open()
    connection.get(lab.path(SMALL))
    connection.get(lab.path(SMALL))
    connection.pump(settings((ENABLE_PUSH, 2)))
    connection_error(connection, PROTOCOL_ERROR)
    must(connection.goaway[0] >= 3, connection.goaway)


# 6.5.3, 6.9: settings and windows.


@case("6.5.3", "the last of several values of a setting holds")
def _(lab):
    connection = lab.connect(preface=False, own={INITIAL_WINDOW_SIZE: 1}, replenish=False)
    connection.pump(PREFACE + settings((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)) + request(1, lab.path(LARGE)))
    connection.settle()
    must(connection.answers[1].received == 1, connection.answers[1].sizes)


@case("6.5.3", "SETTINGS are acknowledged one by one")
def _(lab):
    connection = lab.open()
    connection.pump(settings() * 3)
    connection.settle()
    must(connection.acknowledged == 4, connection.acknowledged)


@case("6.9.1", "a window of one byte: one byte of DATA at a time")
def _(lab):
    connection = lab.open(own={INITIAL_WINDOW_SIZE: 1}, replenish=False)
    connection.pump(request(1, lab.path(LARGE)))
    connection.settle()
    for expected in range(1, 6):
        must(connection.answers[1].received == expected, connection.answers[1].sizes)
        connection.grant(1, 1)
        connection.settle()


@case("6.9.1", "the window of the connection holds for all streams together")
def _(lab):
    connection = lab.open(own={INITIAL_WINDOW_SIZE: 2**20}, replenish=False)
    connection.pump(request(1, lab.path(LARGE)) + request(3, lab.path(LARGE)))
    connection.settle()
    must(connection.window == 0, connection.window)
    connection.replenish = True
    connection.grant(0, 65535)
    connection.pump(until=lambda: connection.ended(1) and connection.ended(3))
    right(lab, connection.answers[1], LARGE)
    right(lab, connection.answers[3], LARGE)


@case("6.9.2", "INITIAL_WINDOW_SIZE changes the windows of open streams")
def _(lab):
    connection = half_closed(lab)
    connection.answers[1].window = 10
    connection.pump(settings((INITIAL_WINDOW_SIZE, 10)))
    connection.settle()
    must(connection.answers[1].received == 10, connection.answers[1].sizes)


@case("6.9.2", "a window below zero: DATA goes on when it is above")
def _(lab):
    connection = lab.open(own={INITIAL_WINDOW_SIZE: 30}, replenish=False)
    connection.pump(request(1, lab.path(LARGE)))
    connection.settle()
    must(connection.answers[1].received == 30, connection.answers[1].sizes)
    connection.pump(settings((INITIAL_WINDOW_SIZE, 10)))  # the window is -20
    connection.settle()
    for granted, received in [(20, 30), (5, 35)]:
        connection.pump(window(1, granted))
        connection.answers[1].window = received - 30
        connection.settle()
        must(connection.answers[1].received == received, connection.answers[1].sizes)


@case("6.9", "DATA is never larger than MAX_FRAME_SIZE, nor beyond a window")
def _(lab):
    connection = lab.open(own={INITIAL_WINDOW_SIZE: 2**20, MAX_FRAME_SIZE: 16384})
    right(lab, connection.get(lab.path(HUGE), seconds=30), HUGE)


@case("6.9", "a larger MAX_FRAME_SIZE")
def _(lab):
    connection = lab.open(own={INITIAL_WINDOW_SIZE: 2**20, MAX_FRAME_SIZE: 2**20})
    right(lab, connection.get(lab.path(LARGE)), LARGE)


@case("6.7", "PING is answered while bodies are sent")
def _(lab):
    connection = lab.open(own={INITIAL_WINDOW_SIZE: 2**20})
    connection.pump(request(1, lab.path(HUGE)))
    for number in range(20):
        mark = b"number%02d" % number
        connection.pump(ping(mark), lambda mark=mark: mark in connection.pongs)
    connection.pump(until=lambda: connection.ended(1), seconds=30)
    right(lab, connection.answers[1], HUGE)


@case("6.10", "a header block of three CONTINUATION frames, one of them empty")
def _(lab):
    connection = lab.open()
    whole = block(fields(lab.path(SMALL)))
    connection.pump(
        headers(1, whole[:1], flags=0) + continuation(1, whole[1:20], end=False) + continuation(1, b"", end=False)
        + continuation(1, whole[20:])
    )
    right(lab, answered(connection, 1, 200), SMALL)


# RFC 9218.

table(
    idle, works,
    ("RFC 9218, 7.1", "PRIORITY_UPDATE of an idle stream", frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=1, i")),
    ("RFC 9218, 7.1", "PRIORITY_UPDATE with a value that cannot be read", frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=nine, \xff(")),
    ("RFC 9218, 2.1", "NO_RFC7540_PRIORITIES of 1", settings((NO_RFC7540_PRIORITIES, 1))),
)


@case("RFC 9218, 4", "values of Priority that cannot be read change no answer")
def _(lab):
    connection = lab.open()
    for value in "u=1, i", "u=9", "u=-1, i=?2", "", "u=1;x=2, foo=(1 2", "\x80", "u=" + "1" * 500:
        right(lab, connection.get(lab.path(SMALL), ("priority", value)), SMALL)


@case("RFC 9218, 10", "the most urgent answer overtakes others that wait for the socket")
def _(lab):
    connection = lab.open(own={INITIAL_WINDOW_SIZE: 2**24}, keep_bodies=False, buffer=65536)
    streams = range(1, 17, 2)
    # From here on the server's socket is full: nothing is read.
    connection.flood(window(0, 2**30) + b"".join(request(stream, lab.path(HUGE), ("priority", "u=5")) for stream in streams), 1, read=False)
    time.sleep(0.5)
    connection.flood(request(17, lab.path(HUGE), ("priority", "u=0")), 1, read=False)
    time.sleep(0.5)
    connection.window += 2**30
    connection.replenish = False
    connection.pump(until=lambda: connection.ended(17), seconds=30)
    others = sum(connection.answers[stream].received for stream in streams if stream in connection.answers)
    must(connection.ended(17) and connection.answers[17].received == len(lab.bodies[HUGE]), connection)
    # What the kernel has of them cannot be overtaken.
    must(others <= len(streams) * len(lab.bodies[HUGE]) // 2, f"{others} bytes of less urgent answers came before")


@case("RFC 9218, 10", "the most urgent answer overtakes others that wait for the window of the connection")
def _(lab):
    connection = lab.open(own={INITIAL_WINDOW_SIZE: 2**24}, replenish=False)
    streams = range(1, 13, 2)
    connection.pump(b"".join(request(stream, lab.path(HUGE), ("priority", "u=5")) for stream in streams))
    connection.settle()
    connection.pump(request(13, lab.path(LARGE), ("priority", "u=0")))
    connection.settle()
    before = {stream: connection.answers[stream].received for stream in streams}
    connection.grant(0, 8 * len(lab.bodies[LARGE]))
    connection.pump(until=lambda: connection.ended(13), seconds=3)
    others = sum(connection.answers[stream].received - before[stream] for stream in streams)
    must(connection.ended(13), f"{others} bytes of less urgent answers came, and not the urgent one")
    right(lab, connection.answers[13], LARGE)


@case("RFC 9218, 10", "answers of equal urgency that are not incremental come one after the other, in order")
def _(lab):
    connection = lab.open(own={INITIAL_WINDOW_SIZE: 2**20})
    streams = range(1, 2 * len(TILES), 2)
    connection.pump(
        b"".join(request(stream, lab.path(name)) for stream, name in zip(streams, TILES)),
        lambda: all(map(connection.ended, streams)),
    )
    for stream, name in zip(streams, TILES):
        right(lab, connection.answers[stream], name)
