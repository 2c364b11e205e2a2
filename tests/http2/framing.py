"""Cases of RFC 9113, sections 3 to 7, and RFC 9218: the connection, frames, streams and their errors."""

import contextlib
import socket
import ssl
import time

from verdicts import (
    HUGE, LARGE, SMALL, TILES, answered, case, closed_by_end, closed_by_reset, connection_error, half_closed, idle,
    is_open, right, stream_error, table, works,
)
from wire import *  # noqa: F403
from wire import Connection, Wrong, context


def of_connection(_, connection, *codes):
    connection_error(connection, *codes)


def of_stream(_, connection, *codes):
    stream_error(connection, 1, *codes)


def nothing(lab, connection):
    works(lab, connection)


def has_pong(lab, connection, payload=b"12345678"):
    connection.settle()
    if connection.pongs.count(payload) != 1:
        raise Wrong(f"PING is not answered once: {connection.pongs}, {connection}")
    works(lab, connection)


# 3: Starting HTTP/2.


def negotiated(lab, alpn, version=None):
    raw = socket.create_connection(("127.0.0.1", lab.tls_port), timeout=PATIENCE)
    return context(alpn, version).wrap_socket(raw, server_hostname=NAME)


def http1(connection, path):
    """The first bytes of the answer to a request of HTTP/1.1."""
    with contextlib.closing(connection):
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
        with contextlib.suppress(OSError):
            return connection.recv(100)
        return b""


def must(condition, found):
    if not condition:
        raise Wrong(str(found))


@case("3.2", "ALPN: a client that offers h2 alone gets it")
def _(lab):
    with negotiated(lab, ["h2"]) as connection:
        must(connection.selected_alpn_protocol() == "h2", connection.selected_alpn_protocol())


@case("3.2", "ALPN: of h2 and http/1.1 the server takes h2, in both orders")
def _(lab):
    for offered in ["h2", "http/1.1"], ["http/1.1", "h2"]:
        with negotiated(lab, offered) as connection:
            must(connection.selected_alpn_protocol() == "h2", connection.selected_alpn_protocol())


@case("3.2", "ALPN: a client of HTTP/1.1 is answered in HTTP/1.1")
def _(lab):
    for offered in ["http/1.1"], []:
        connection = negotiated(lab, offered)
        must(connection.selected_alpn_protocol() in (None, "http/1.1"), connection.selected_alpn_protocol())
        said = http1(connection, lab.path(SMALL))
        must(said.startswith(b"HTTP/1.1 200"), said)


@case("3.2", "ALPN: a client of a protocol that nobody knows is not answered in HTTP/2")
def _(lab):
    with contextlib.suppress(ssl.SSLError, ConnectionResetError):
        with negotiated(lab, ["spdy/3"]) as connection:
            must(connection.selected_alpn_protocol() is None, connection.selected_alpn_protocol())


@case("3.2", "the preface of HTTP/2 on a connection of HTTP/1.1 is refused")
def _(lab):
    with negotiated(lab, ["http/1.1"]) as connection:
        connection.sendall(PREFACE + settings())
        with contextlib.suppress(OSError):
            said = connection.recv(100)
            must(said == b"" or said.startswith(b"HTTP/1.1 4"), said)


@case("3.1", "Upgrade: h2c without TLS is not accepted")
def _(lab):
    with socket.create_connection(("127.0.0.1", lab.plain_port), timeout=PATIENCE) as connection:
        connection.sendall(
            f"GET {lab.path(SMALL)} HTTP/1.1\r\nHost: {NAME}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n".encode()
        )
        said = connection.recv(100)
        must(said.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400")), said)


@case("3.3", "the preface of HTTP/2 without TLS is refused")
def _(lab):
    with socket.create_connection(("127.0.0.1", lab.plain_port), timeout=PATIENCE) as connection:
        connection.sendall(PREFACE + settings())
        with contextlib.suppress(OSError):
            said = connection.recv(100)
            must(said == b"" or said.startswith(b"HTTP/1.1 4"), said)


@case("3.3", "the preface of HTTP/2 without TLS, where the configuration says so")
def _(lab):
    connection = Connection(lab.prior_port, tls=False)
    lab.opened.append(connection)
    works(lab, connection.open())
    right(lab, connection.get(lab.path(HUGE)), HUGE)


@case("3.3", "HTTP/1.1 on the same port")
def _(lab):
    said = http1(socket.create_connection(("127.0.0.1", lab.prior_port), timeout=PATIENCE), lab.path(SMALL))
    must(said.startswith(b"HTTP/1.1 200"), said)


@case("3.4", "the server begins with SETTINGS and acknowledges those of the client")
def _(lab):
    connection = lab.open()
    must(connection.acknowledged == 1, connection)
    works(lab, connection)


@case("3.4", "a request in one piece with the preface")
def _(lab):
    connection = lab.connect(preface=False)
    connection.pump(PREFACE + settings() + request(1, lab.path(SMALL)), lambda: connection.ended(1))
    right(lab, connection.answers[1], SMALL)


@case("3.4", "preface, SETTINGS and request in single bytes")
def _(lab):
    connection = lab.connect(preface=False)
    connection.drip(PREFACE + settings((INITIAL_WINDOW_SIZE, 70000)) + request(1, lab.path(SMALL)))
    right(lab, answered(connection, 1, 200), SMALL)


def ends_without_answer(lab, sent):
    connection = lab.connect(preface=False)
    connection.pump(sent, lambda: connection.closed)
    must(connection.closed, f"not closed: {connection}")
    must(b"HTTP/1" not in connection.not_frames, connection)
    must(not connection.answers, connection)


@case("3.4", "another preface ends the connection")
def _(lab):
    ends_without_answer(lab, b"INVALID CONNECTION PREFACE\r\n\r\n")


@case("3.4", "a preface with one wrong byte ends the connection")
def _(lab):
    ends_without_answer(lab, PREFACE[:-5] + b"N\r\n\r\n" + settings() + request(1, lab.path(SMALL)))


@case("3.4", "a request of HTTP/1.1 where h2 was agreed on is not answered in HTTP/1.1")
def _(lab):
    ends_without_answer(lab, f"GET {lab.path(SMALL)} HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())


@case("3.4", "a preface that is not followed by SETTINGS")
def _(lab):
    connection = lab.connect(preface=False)
    connection.pump(PREFACE + request(1, lab.path(SMALL)))
    connection_error(connection, PROTOCOL_ERROR)


@case("9.2.2", "a cipher of TLS 1.2 that HTTP/2 allows")
def _(lab):
    with negotiated(lab, ["h2"], ssl.TLSVersion.TLSv1_2) as connection:
        name, *_ = connection.cipher()
        must(name.startswith("ECDHE-") and ("GCM" in name or "CHACHA20" in name), name)
        must(connection.selected_alpn_protocol() == "h2", connection.selected_alpn_protocol())


@case("9.1", "a client that closes its side after a request gets the answer, or the end of the connection")
def _(lab):
    connection = lab.open()
    connection.pump(request(1, lab.path(SMALL)))
    connection.half_close()
    connection.pump(until=lambda: connection.ended(1) or connection.closed)
    must(connection.ended(1) or connection.closed, connection)


# 4: Frames.

table(
    idle, nothing,
    ("4.1", "a frame of an unknown kind", frame(0x16, 0, 0, b"12345678")),
    ("4.1", "a frame of an unknown kind on an idle stream", frame(0x17, 0xFF, 1, b"")),
    ("5.5", "an unknown frame of 16384 bytes", frame(0xF0, 0, 0, bytes(16384))),
    ("4.2", "SETTINGS of 16380 bytes", settings(*((0xFF00 + at % 200, at) for at in range(2730)))),
    ("5.1", "PRIORITY on an idle stream", priority(1)),
    ("5.1", "PRIORITY on a higher idle stream, then a request on a lower one", priority(99)),
    ("6.3", "PRIORITY, weight 256, exclusive, on a stream that depends on an idle one", priority(3, 17, 256, True)),
    ("6.5", "empty SETTINGS", settings()),
    ("6.5.2", "a setting that nobody knows", settings((0xFF, 1))),
    ("6.5.2", "MAX_FRAME_SIZE of 16384 and of 16777215", settings((MAX_FRAME_SIZE, 16384)) + settings((MAX_FRAME_SIZE, 2**24 - 1))),
    ("6.5.2", "INITIAL_WINDOW_SIZE of 2147483647", settings((INITIAL_WINDOW_SIZE, 2**31 - 1))),
    ("6.5.2", "MAX_CONCURRENT_STREAMS of 0, which concerns pushes", settings((MAX_CONCURRENT_STREAMS, 0))),
    ("6.5.2", "ENABLE_PUSH of 0 and of 1", settings((ENABLE_PUSH, 0)) + settings((ENABLE_PUSH, 1))),
    ("6.7", "PING with ACK", ping(b"nobodyasked"[:8], ACK)),
    ("6.9", "WINDOW_UPDATE of the connection", window(0, 1000)),
    ("6.9.1", "the window of the connection up to 2147483647", window(0, 2**31 - 1 - 65535)),
)
table(
    idle, has_pong,
    ("4.1", "PING with flags that are not defined", ping(flags=0xFE)),
    ("4.1", "PING with the reserved bit of the stream", frame(PING, 0, 0x80000000, b"12345678")),
    ("6.7", "PING", ping()),
)
table(
    idle, of_connection,
    ("4.2", "HEADERS longer than MAX_FRAME_SIZE", lambda lab: headers(1, bytes(16385)), FRAME_SIZE_ERROR),
    ("4.2", "SETTINGS longer than MAX_FRAME_SIZE", frame(SETTINGS, 0, 0, bytes(16386)), FRAME_SIZE_ERROR),
    ("4.2", "an unknown frame longer than MAX_FRAME_SIZE", frame(0x42, 0, 0, bytes(16385)), FRAME_SIZE_ERROR),
    ("4.3", "a header block that is no HPACK", headers(1, b"\x40"), COMPRESSION_ERROR),
    ("5.1", "DATA on an idle stream", data(1, b"test", True), PROTOCOL_ERROR),
    ("5.1", "RST_STREAM on an idle stream", reset(1), PROTOCOL_ERROR),
    ("5.1", "WINDOW_UPDATE on an idle stream", window(1, 100), PROTOCOL_ERROR),
    ("5.1", "CONTINUATION on an idle stream", lambda lab: continuation(1, block(fields("/"))), PROTOCOL_ERROR),
    ("5.1.1", "HEADERS on an even stream", lambda lab: request(2, lab.path(SMALL)), PROTOCOL_ERROR),
    ("5.4.1", "PING with a wrong length: GOAWAY, then the end", frame(PING, 0, 0, b"123456"), FRAME_SIZE_ERROR),
    ("6.1", "DATA on stream 0", data(0, b"test", True), PROTOCOL_ERROR),
    ("6.2", "HEADERS on stream 0", lambda lab: request(0, lab.path(SMALL)), PROTOCOL_ERROR),
    ("6.2", "HEADERS with more padding than payload", lambda lab: headers(1, b"\xff" + block(fields(lab.path(SMALL))), flags=END_HEADERS | PADDED), PROTOCOL_ERROR),
    ("6.2", "HEADERS with a priority that is too short", headers(1, b"\0\0\0", flags=END_HEADERS | PRIORITIZED), FRAME_SIZE_ERROR, PROTOCOL_ERROR),
    ("6.2", "HEADERS with padding and without its length", headers(1, b"", flags=END_HEADERS | PADDED), FRAME_SIZE_ERROR, PROTOCOL_ERROR),
    ("6.3", "PRIORITY on stream 0", priority(0, 1), PROTOCOL_ERROR),
    ("6.4", "RST_STREAM on stream 0", reset(0), PROTOCOL_ERROR),
    ("6.5", "SETTINGS with ACK and a payload", settings((0xFF, 1), flags=ACK), FRAME_SIZE_ERROR),
    ("6.5", "SETTINGS on stream 1", frame(SETTINGS, 0, 1, bytes(6)), PROTOCOL_ERROR),
    ("6.5", "SETTINGS of 3 bytes", frame(SETTINGS, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
    ("6.5.2", "ENABLE_PUSH of 2", settings((ENABLE_PUSH, 2)), PROTOCOL_ERROR),
    ("6.5.2", "INITIAL_WINDOW_SIZE of 2147483648", settings((INITIAL_WINDOW_SIZE, 2**31)), FLOW_CONTROL_ERROR),
    ("6.5.2", "MAX_FRAME_SIZE of 16383", settings((MAX_FRAME_SIZE, 16383)), PROTOCOL_ERROR),
    ("6.5.2", "MAX_FRAME_SIZE of 16777216", settings((MAX_FRAME_SIZE, 2**24)), PROTOCOL_ERROR),
    ("6.6", "PUSH_PROMISE of a client", lambda lab: request(1, lab.path(SMALL)) + frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + block(fields("/"))), PROTOCOL_ERROR),
    ("6.7", "PING on stream 1", frame(PING, 0, 1, bytes(8)), PROTOCOL_ERROR),
    ("6.7", "PING of 6 bytes", frame(PING, 0, 0, bytes(6)), FRAME_SIZE_ERROR),
    ("6.7", "PING of 9 bytes", frame(PING, 0, 0, bytes(9)), FRAME_SIZE_ERROR),
    ("6.8", "GOAWAY on stream 1", frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL_ERROR),
    ("6.8", "GOAWAY of 4 bytes", frame(GOAWAY, 0, 0, bytes(4)), FRAME_SIZE_ERROR),
    ("6.9", "WINDOW_UPDATE of 0 of the connection", window(0, 0), PROTOCOL_ERROR),
    ("6.9", "WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"), FRAME_SIZE_ERROR),
    ("6.9.1", "a window of the connection beyond 2147483647", window(0, 2**31 - 1) * 2, FLOW_CONTROL_ERROR),
    ("6.10", "CONTINUATION on stream 0", continuation(0, b""), PROTOCOL_ERROR),
    ("6.10", "CONTINUATION behind HEADERS with END_HEADERS", lambda lab: headers(1, block(fields(lab.path(SMALL))), end=False) + continuation(1, literal("a", "b")), PROTOCOL_ERROR),
    ("6.10", "CONTINUATION behind CONTINUATION with END_HEADERS", lambda lab: headers(1, block(fields(lab.path(SMALL))), end=False, flags=0) + continuation(1, b"") + continuation(1, b""), PROTOCOL_ERROR),
    ("6.10", "CONTINUATION on another stream", lambda lab: headers(1, block(fields(lab.path(SMALL))), flags=0) + continuation(3, b""), PROTOCOL_ERROR),
)
for title, between in {
    "PRIORITY": priority(1), "PING": ping(), "SETTINGS": settings(), "DATA": data(1, b"a"), "RST_STREAM": reset(1),
    "WINDOW_UPDATE": window(0, 1), "GOAWAY": goaway(), "a frame of an unknown kind": frame(0x16, 0, 0, b"1234"),
    "HEADERS of another stream": headers(3, block(fields("/"))), "HEADERS of the same stream": headers(1, b""),
}.items():
    table(idle, of_connection, (
        "6.2", f"{title} inside of a header block",
        lambda lab, between=between: headers(1, block(fields(lab.path(SMALL))), flags=0) + between + continuation(1, b""),
        PROTOCOL_ERROR,
    ))

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
    closed_by_end, nothing,
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
    idle, nothing,
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
