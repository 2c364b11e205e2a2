"""Cases of RFC 9113, section 8, and of RFC 9110: requests that are none, and what an answer must be."""

import concurrent.futures

from verdicts import (
    HUGE, LARGE, SMALL, TILES, answered, case, connection_error, idle, is_open, malformed, right, table, works,
)
from wire import *  # noqa: F403
from wire import Wrong, literal, request


def is_refused(lab, connection):
    malformed(connection, 1)


def is_served(lab, connection):
    right(lab, answered(connection, 1, 200), SMALL)


def refused_or_served(lab, connection):
    connection.settle()
    connection.pump(until=lambda: connection.ended(1))
    if connection.answers.get(1) and connection.answers[1].status == 200:
        is_served(lab, connection)
    else:
        is_refused(lab, connection)


def asked(*more, **pseudo):
    """A request for an object that the store must never be asked for."""
    return lambda lab: request(1, pseudo.get("path", lab.never()), *more, **{k: v for k, v in pseudo.items() if k != "path"})


def served(*more, **pseudo):
    return lambda lab: request(1, lab.path(SMALL), *more, **pseudo)


def raw(*pairs):
    """A request with these fields alone; PATH stands for its path."""
    return lambda lab: headers(1, block([(name, lab.never() if value == "PATH" else value) for name, value in pairs]))


METHOD, SCHEME, PATH, AUTHORITY = (":method", "GET"), (":scheme", "https"), (":path", "PATH"), (":authority", NAME)

table(
    idle, is_served,
    ("8.1", "GET", served()),
    ("8.1.1", "GET with Content-Length: 0", served(("content-length", "0"))),
    ("8.2.2", "TE: trailers", served(("te", "trailers"))),
    ("8.2.3", "Cookie in several fields", served(("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3"))),
    ("8.3.1", "Host beside :authority, equal to it", served(("host", NAME))),
    ("8.3.1", "Host in place of :authority", lambda lab: headers(1, block([METHOD, SCHEME, (":path", lab.path(SMALL)), ("host", NAME)]))),
    ("8.3.1", "pseudo-header fields in another order", lambda lab: headers(1, block([(":path", lab.path(SMALL)), AUTHORITY, SCHEME, METHOD]))),
    ("6.2", "HEADERS with padding", lambda lab: headers(1, b"\7" + block(fields(lab.path(SMALL))) + bytes(7), flags=END_HEADERS | PADDED)),
    ("6.2", "HEADERS with a priority", lambda lab: headers(1, prioritised(0, 256, True) + block(fields(lab.path(SMALL))), flags=END_HEADERS | PRIORITIZED)),
    ("6.2", "HEADERS with padding and a priority", lambda lab: headers(1, b"\2" + prioritised(3) + block(fields(lab.path(SMALL))) + bytes(2), flags=END_HEADERS | PADDED | PRIORITIZED)),
    ("8.1", "a request that ends with an empty DATA frame", lambda lab: request(1, lab.path(SMALL), end=False) + data(1, b"", True)),
)
table(
    idle, is_refused,
    # 8.2.1: names and values.
    ("8.2.1", "an upper-case name", asked(("X-Test", "a"))),
    ("8.2.1", "a name with a space", asked(("x test", "a"))),
    ("8.2.1", "a name with a colon", asked(("x:test", "a"))),
    ("8.2.1", "an empty name", asked(("", "a"))),
    ("8.2.1", "a name with DEL", asked(("x\x7f", "a"))),
    ("8.2.1", "a name with a byte above ASCII", asked(("x\xe9", "a"))),
    ("8.2.1", "a name with NUL", asked(("x\0", "a"))),
    ("8.2.1", "a name with CR LF", asked(("x\r\ny", "a"))),
    ("8.2.1", "a value with NUL", asked(("x-test", "a\0b"))),
    ("8.2.1", "a value with LF", asked(("x-test", "a\nb"))),
    ("8.2.1", "a value with CR", asked(("x-test", "a\rb"))),
    ("8.2.1", "a value with CR LF and another field", asked(("x-test", "a\r\nx-other: b"))),
    ("8.2.1", "a value that begins with a space", asked(("x-test", " a"))),
    ("8.2.1", "a value that ends with a tab", asked(("x-test", "a\t"))),
    ("8.2.1", "a path with LF", lambda lab: request(1, lab.never() + "\n")),
    ("8.2.1", "a path with CR LF and another request", lambda lab: request(1, lab.never() + " HTTP/1.1\r\nHost: a\r\n\r\nGET /")),
    ("8.2.1", "a path with a space", lambda lab: request(1, lab.never() + " x")),
    ("8.2.1", "a path with NUL", lambda lab: request(1, lab.never() + "\0")),
    ("8.2.1", "a method with CR LF", asked(method="GET\r\nx: y")),
    ("8.2.1", "a method with a space", asked(method="GET /")),
    ("8.2.1", "an authority with CR LF", asked(authority="a\r\nx: y")),
    # 8.2.2: fields of one connection.
    *(("8.2.2", f"{name}: {value}", asked((name, value))) for name, value in [
        ("connection", "close"), ("connection", "keep-alive"), ("keep-alive", "timeout=5"), ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"), ("upgrade", "websocket"), ("te", "gzip"), ("te", "trailers, deflate;q=0.5"),
    ]),
    # 8.3: pseudo-header fields.
    ("8.3", "a pseudo-header field that nobody knows", asked((":test", "a"))),
    ("8.3", "a pseudo-header field of answers", asked((":status", "200"))),
    ("8.3", "a pseudo-header field behind another field", raw(METHOD, SCHEME, AUTHORITY, ("x-test", "a"), PATH)),
    ("8.3.1", "no :method", raw(SCHEME, PATH, AUTHORITY)),
    ("8.3.1", "no :scheme", raw(METHOD, PATH, AUTHORITY)),
    ("8.3.1", "no :path", raw(METHOD, SCHEME, AUTHORITY)),
    ("8.3.1", "an empty :path", raw(METHOD, SCHEME, (":path", ""), AUTHORITY)),
    ("8.3.1", "a :path without a slash", raw(METHOD, SCHEME, (":path", "s3proxy/never"), AUTHORITY)),
    ("8.3.1", "a :path that is an asterisk, for GET", raw(METHOD, SCHEME, (":path", "*"), AUTHORITY)),
    ("8.3.1", "a :path with a fragment", lambda lab: request(1, lab.never() + "#x")),
    ("8.3.1", "neither :authority nor Host", raw(METHOD, SCHEME, PATH)),
    ("8.3.1", "an empty :authority", raw(METHOD, SCHEME, PATH, (":authority", ""))),
    ("8.3.1", "user information in :authority", raw(METHOD, SCHEME, PATH, (":authority", "user:pw@" + NAME))),
    ("8.3.1", "a path in :authority", raw(METHOD, SCHEME, PATH, (":authority", NAME + "/evil"))),
    ("8.3.1", "Host that differs from :authority", raw(METHOD, SCHEME, PATH, AUTHORITY, ("host", "other.example.org"))),
    ("8.3.1", "Host twice", raw(METHOD, SCHEME, PATH, ("host", NAME), ("host", "other.example.org"))),
    ("8.3.1", ":method twice", raw(METHOD, METHOD, SCHEME, PATH, AUTHORITY)),
    ("8.3.1", ":scheme twice", raw(METHOD, SCHEME, SCHEME, PATH, AUTHORITY)),
    ("8.3.1", ":path twice", raw(METHOD, SCHEME, PATH, PATH, AUTHORITY)),
    ("8.3.1", ":authority twice", raw(METHOD, SCHEME, PATH, AUTHORITY, AUTHORITY)),
    ("8.3.1", "a scheme that is none of HTTP's", raw(METHOD, (":scheme", "ftp://a"), PATH, AUTHORITY)),
    ("8.5", "CONNECT with a path", asked(method="CONNECT")),
    ("8.5", "CONNECT", raw((":method", "CONNECT"), (":authority", "a.example:443"))),
    ("8.5", "CONNECT of RFC 8441, which the server does not offer", raw((":method", "CONNECT"), (":protocol", "websocket"), SCHEME, PATH, AUTHORITY)),
    ("8.1", "a method that nobody knows", asked(method="FETCH")),
    ("8.1", "a method in lower case", asked(method="get")),
    ("8.1", "TRACE", asked(method="TRACE")),
    # 8.1.1: lengths.
    ("8.1.1", "Content-Length without DATA", asked(("content-length", "5"), method="POST")),
    ("8.1.1", "GET with Content-Length, without DATA", asked(("content-length", "5"))),
    ("8.1.1", "Content-Length that is no number", asked(("content-length", "five"))),
    ("8.1.1", "Content-Length with a sign", asked(("content-length", "+5"))),
    ("8.1.1", "two different lengths", asked(("content-length", "0"), ("content-length", "5"))),
    ("8.1.1", "less DATA than Content-Length", lambda lab: request(1, lab.never(), ("content-length", "5"), end=False, method="POST") + data(1, b"test", True)),
    ("8.1.1", "more DATA than Content-Length", lambda lab: request(1, lab.never(), ("content-length", "1"), end=False, method="POST") + data(1, b"a") + data(1, b"b", True)),
    ("8.1", "POST with a body", lambda lab: request(1, lab.never(), ("content-length", "4"), end=False, method="POST") + data(1, b"test", True)),
    ("8.1", "GET with a body", lambda lab: request(1, lab.never(), end=False) + data(1, b"test", True)),
    # Trailers.
    ("8.1", "trailers that do not end the stream", lambda lab: request(1, lab.never(), ("content-length", "4"), end=False, method="POST") + data(1, b"te") + headers(1, literal("x-test", "a"), end=False)),
    ("8.1", "GET with trailers that have a pseudo-header field", lambda lab: request(1, lab.never(), end=False) + headers(1, literal(":method", "GET"))),
    ("8.1", "trailers with a pseudo-header field", lambda lab: request(1, lab.never(), end=False, method="POST") + data(1, b"test") + headers(1, literal(":method", "GET"))),
    ("8.1", "POST with trailers", lambda lab: request(1, lab.never(), end=False, method="POST") + data(1, b"test") + headers(1, literal("x-test", "a"))),
)
table(
    idle, refused_or_served,
    ("8.3.1", "http over TLS", served(scheme="http")),
    ("8.3.1", "a scheme in upper case", served(scheme="HTTPS")),
)


@case("8.1", "HEAD: the head of GET, and no DATA")
def _(lab):
    connection = lab.open()
    whole, head = connection.get(lab.path(SMALL)), connection.get(lab.path(SMALL), method="HEAD")
    if head.status != 200 or head.received or head.fields.get(b"content-length") != whole.fields[b"content-length"]:
        raise Wrong(f"{head.status} {head.fields} {head.received} bytes")


@case("8.1", "304 without DATA")
def _(lab):
    connection = lab.open()
    tag = connection.get(lab.path(SMALL)).fields[b"etag"].decode()
    answer = connection.get(lab.path(SMALL), ("if-none-match", tag))
    if answer.status != 304 or answer.received:
        raise Wrong(f"{answer.status}, {answer.received} bytes")


@case("8.1", "one part of an object")
def _(lab):
    connection = lab.open()
    answer = connection.get(lab.path(LARGE), ("range", "bytes=1000-70999"))
    if answer.status != 206 or bytes(answer.body) != lab.bodies[LARGE][1000:71000]:
        raise Wrong(f"{answer.status}, {answer.received} bytes")


@case("8.1", "several parts of an object, and a part beyond its end")
def _(lab):
    connection = lab.open()
    answer = connection.get(lab.path(LARGE), ("range", "bytes=0-9,100-109"))
    if answer.status != 206 or lab.bodies[LARGE][100:110] not in bytes(answer.body):
        raise Wrong(f"{answer.status}, {answer.received} bytes")
    answer = connection.get(lab.path(LARGE), ("range", "bytes=999999999-"))
    if answer.status != 416:
        raise Wrong(f"{answer.status}")


@case("8.1", "an object that does not exist: 404, and the connection remains")
def _(lab):
    connection = lab.open()
    answer = connection.get(lab.path("missing.png"))
    if answer.status != 404:
        raise Wrong(f"{answer.status}")
    works(lab, connection)


@case("8.1", "an answer before the end of the request does not wait for it")
def _(lab):
    connection = is_open(lab)
    connection.pump(until=lambda: 1 in connection.answers or 1 in connection.resets)
    malformed(connection, 1)
    works(lab, connection)


@case("8.4", "no answer is pushed, whatever the client allows")
def _(lab):
    connection = lab.open(own={ENABLE_PUSH: 1})
    right(lab, connection.get(lab.path(SMALL)), SMALL)
    works(lab, connection)


@case("8.7", "a refused request, and those behind it on the same connection are answered")
def _(lab):
    connection = lab.open()
    connection.pump(
        request(1, lab.path(SMALL)) + request(3, lab.never(), ("Upper", "a")) + request(5, lab.path(SMALL)),
        lambda: connection.ended(1) and connection.ended(5),
    )
    malformed(connection, 3)
    if not connection.goaway:
        right(lab, connection.answers[1], SMALL)
        right(lab, connection.answers[5], SMALL)


@case("10.5.1", "a list of fields that is too large is refused; the connection remains")
def _(lab):
    connection = lab.open()
    # 12 KiB are not refused.
    right(lab, connection.get(lab.path(SMALL), *(("x-%04d" % number, "a" * 100) for number in range(110))), SMALL)
    many = [("x-%04d" % number, "a" * 1000) for number in range(60)]
    whole = block(fields(lab.never(), *many))
    pieces = [whole[at:at + 16384] for at in range(0, len(whole), 16384)]
    connection.highest = 3
    connection.pump(
        headers(3, pieces[0], flags=0) + b"".join(continuation(3, piece, end=piece is pieces[-1]) for piece in pieces[1:])
    )
    connection.settle()
    answer = connection.answers.get(3)
    if connection.goaway or connection.resets.get(3) is not None:
        return
    if not answer or answer.status not in (400, 431):
        raise Wrong(f"60 KB of fields: {connection}")
    works(lab, connection)


@case("5.1.2", "a hundred answers at once, each of the right bytes")
def _(lab):
    connection = lab.open(own={INITIAL_WINDOW_SIZE: 40000})
    names = (TILES * 3)[:100]
    streams = range(1, 200, 2)
    limit = min(100, connection.server_settings.get(MAX_CONCURRENT_STREAMS, 100))
    for begin in range(0, 100, limit):
        now = list(zip(streams, names))[begin:begin + limit]
        connection.pump(
            b"".join(request(stream, lab.path(name)) for stream, name in now),
            lambda now=now: all(connection.ended(stream) for stream, _ in now), 30,
        )
        for stream, name in now:
            right(lab, answered(connection, stream, 200), name)


@case("5.1.2", "eight connections at once, each with large bodies")
def _(lab):
    def one(_):
        connection = lab.open(own={INITIAL_WINDOW_SIZE: 2**18})
        for name in LARGE, HUGE, LARGE:
            right(lab, connection.get(lab.path(name), seconds=60), name)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(8)))


@case("5.1", "a client that resets what it no longer wants gets the rest")
def _(lab):
    connection = lab.open()
    sent = b"".join(request(stream, lab.path(HUGE)) + reset(stream) for stream in range(1, 20, 2))
    connection.pump(sent + request(21, lab.path(LARGE)), lambda: connection.ended(21))
    right(lab, answered(connection, 21, 200), LARGE)


@case("8.6", "1xx, trailers and fields of HTTP/1.1 do not appear in answers to Expect and Connection: close")
def _(lab):
    connection = lab.open()
    connection.pump(request(1, lab.path(SMALL), ("expect", "100-continue")))
    connection.settle()
    connection.pump(until=lambda: connection.ended(1))
    answered(connection, 1, 200, 400, 417)


@case("5.4.1", "what is wrong with one connection does not concern another one")
def _(lab):
    one, other = lab.open(), lab.open()
    one.pump(ping(b"short"))
    connection_error(one, FRAME_SIZE_ERROR)
    works(lab, other)
