"""What a case may demand of the server, and the list of cases."""

from wire import COMPRESSION_ERROR, PATIENCE, PROTOCOL_ERROR, Connection, Wrong, code_name, frame, request

# Objects of the bucket, by name and length; their bytes are in lab.py.
SMALL, LARGE, HUGE = "small.png", "large.png", "huge.png"
TILES = [f"tile-{number:02}.png" for number in range(40)]

CASES = []


class Lab:
    """What a case can use. `path` is the path of an object."""

    def __init__(self, server, bodies):
        self.tls_port, self.plain_port, self.prior_port = server.tls_port, server.port, server.prior_port
        self.prefix, self.bodies = server.prefix, bodies
        self.opened, self.unknown = [], 0

    def path(self, name):
        return self.prefix + name

    def connect(self, **options):
        connection = Connection(self.tls_port, **options)
        self.opened.append(connection)
        return connection

    def open(self, **options):
        return self.connect(**options).open()

    def never(self):
        """The path of an object that nobody requests in another case. The store must not see it."""
        self.unknown += 1
        return self.path(f"never-{self.unknown}.png")


def case(section, title):
    def register(test):
        CASES.append((section, title, test))
        return test

    return register


class OtherCode(Wrong):
    """The connection has ended with PROTOCOL_ERROR, as it had to, where the RFC has a code that says more."""


def connection_error(connection, *codes):
    """GOAWAY with one of these codes, and the end of the connection (RFC 9113, 5.4.1)."""
    connection.settle()
    if not connection.closed:
        raise Wrong(f"no connection error: {connection}")
    if connection.goaway is None or connection.goaway[1] not in codes:
        general = connection.goaway and connection.goaway[1] == PROTOCOL_ERROR
        raise (OtherCode if general else Wrong)(f"not {' or '.join(map(code_name, codes))}: {connection}")


def stream_error(connection, stream, *codes):
    """RST_STREAM with one of these codes. Each stream error may be treated as one of the connection (RFC 9113, 5.4.1)."""
    connection.settle()
    if connection.goaway and connection.goaway[1] in codes and connection.closed:
        return
    if connection.resets.get(stream) not in codes:
        general = connection.closed and connection.goaway and connection.goaway[1] == PROTOCOL_ERROR
        what = f"not {' or '.join(map(code_name, codes))} on stream {stream}: {connection}"
        raise (OtherCode if general else Wrong)(what)


def malformed(connection, stream):
    """A stream error PROTOCOL_ERROR, or an answer that refuses the request (RFC 9113, 8.1.1). 404 is none: the store
    was asked."""
    connection.settle()
    answer = connection.answers.get(stream)
    if answer and answer.status in (400, 405, 411, 413, 414, 417, 421, 431, 501):
        connection.pump(until=lambda: connection.ended(stream))
        if connection.ended(stream):
            return
    stream_error(connection, stream, PROTOCOL_ERROR)


def not_compressed(connection):
    connection_error(connection, COMPRESSION_ERROR)


def works(lab, connection, name=SMALL, **options):
    """The connection is of use as before: a request is answered, byte by byte."""
    if not connection.settle():
        raise Wrong(f"the connection has ended: {connection}")
    right(lab, connection.get(lab.path(name), **options), name)


def right(lab, answer, name):
    if answer.status != 200 or bytes(answer.body) != lab.bodies[name]:
        raise Wrong(f"{name}: {answer.status}, {len(answer.body)} bytes")


def answered(connection, stream, *statuses):
    connection.pump(until=lambda: connection.ended(stream))
    answer = connection.answers.get(stream)
    if not answer or answer.status not in statuses or (statuses[0] < 400 and not answer.done):
        raise Wrong(f"not answered {statuses} on stream {stream}: {connection}")
    return answer


# States that a stream can be in when the case begins. Each returns a connection; the stream has number 1.


def idle(lab):
    return lab.open()


def half_closed(lab):
    """The request is complete; the answer waits for the window of its stream."""
    connection = lab.open(own={4: 0}, replenish=False)
    connection.highest = 1
    connection.pump(request(1, lab.path(LARGE)), lambda: 1 in connection.answers)
    if connection.answers[1].status != 200:
        raise Wrong(f"no answer to begin with: {connection}")
    # A case may grant one byte.
    connection.answers[1].window = 1
    return connection


def is_open(lab):
    """The request is not complete: its body is to come."""
    connection = lab.open()
    connection.highest = 1
    connection.pump(request(1, lab.path(SMALL), ("content-length", "30000"), end=False, method="POST"))
    return connection


def closed_by_reset(lab):
    connection = half_closed(lab)
    connection.pump(frame(3, 0, 1, bytes(4)))
    connection.settle()
    return connection


def closed_by_end(lab):
    connection = lab.open()
    connection.get(lab.path(SMALL))
    connection.settle(PATIENCE)
    return connection


def must(condition, found):
    if not condition:
        raise Wrong(str(found))


def of_connection(_, connection, *codes):
    connection_error(connection, *codes)


def of_stream(_, connection, *codes):
    stream_error(connection, 1, *codes)


def table(state, then, *rows):
    """Cases of one form: section, title, bytes, and the arguments of `then`."""
    for section, title, sent, *arguments in rows:
        def test(lab, sent=sent, arguments=arguments):
            connection = state(lab)
            connection.pump(sent(lab) if callable(sent) else sent)
            then(lab, connection, *arguments)

        case(section, title)(test)
