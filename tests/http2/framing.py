"""Cases of RFC 9113, sections 3, 4 and 6: the start of a connection, frames, and their errors."""

import contextlib
import socket
import ssl

from verdicts import (
    HUGE, SMALL, answered, case, connection_error, idle, must, of_connection, right, table, works,
)
from wire import *  # noqa: F403
from wire import Connection, Wrong, context


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
    idle, works,
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
