"""Frames of HTTP/2 as bytes (RFC 9113), and header blocks (RFC 7541)."""

import hpack

NAME = "sky.example.org"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 0x10
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
(
    NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED,
    FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM,
    INADEQUATE_SECURITY, HTTP_1_1_REQUIRED,
) = range(14)
CODES = (
    "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR"
    " REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY"
    " HTTP_1_1_REQUIRED"
).split()
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
NO_RFC7540_PRIORITIES = 9
# These concern one connection (RFC 9110, 7.6.1) and have no place in HTTP/2 (RFC 9113, 8.2.2).
OF_CONNECTION = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}


def code_name(code):
    return CODES[code] if code < len(CODES) else f"{code:#x}"


# Frames.


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    length = len(payload) if length is None else length
    return length.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def settings(*pairs, flags=0):
    return frame(SETTINGS, flags, 0, b"".join(k.to_bytes(2, "big") + v.to_bytes(4, "big") for k, v in pairs))


def reset(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def window(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def priority(stream, depends_on=0, weight=16, exclusive=False):
    return frame(PRIORITY, 0, stream, prioritised(depends_on, weight, exclusive))


def prioritised(depends_on=0, weight=16, exclusive=False):
    return (depends_on | exclusive << 31).to_bytes(4, "big") + bytes([weight - 1])


def ping(payload=b"12345678", flags=0):
    return frame(PING, flags, 0, payload)


def goaway(last=0, code=NO_ERROR, text=b""):
    return frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + text)


def data(stream, payload=b"", end=False):
    return frame(DATA, END_STREAM if end else 0, stream, payload)


def headers(stream, block, end=True, flags=END_HEADERS):
    return frame(HEADERS, flags | (END_STREAM if end else 0), stream, block)


def continuation(stream, block, end=True):
    return frame(CONTINUATION, END_HEADERS if end else 0, stream, block)


# Header blocks.


def integer(value, bits, first=0):
    """An integer with a prefix of this many bits (RFC 7541, 5.1); `first` has the bits before it."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    found, value = [first | most], value - most
    while value >= 128:
        found.append(value % 128 | 128)
        value //= 128
    return bytes([*found, value])


def text(value, huffman=False):
    value = value.encode("latin-1") if isinstance(value, str) else value
    if huffman:
        coder = hpack.huffman.HuffmanEncoder(hpack.huffman_constants.REQUEST_CODES, hpack.huffman_constants.REQUEST_CODES_LENGTH)
        value = coder.encode(value)
    return integer(len(value), 7, 0x80 if huffman else 0) + value


def literal(name, value, first=0x00, huffman=False):
    """A field that is not indexed (first 0x00), never indexed (0x10), or added to the table (0x40). The name may be
    an index."""
    bits = 6 if first == 0x40 else 4
    if isinstance(name, int):
        return integer(name, bits, first) + text(value, huffman)
    return bytes([first]) + text(name, huffman) + text(value, huffman)


def indexed(index):
    return integer(index, 7, 0x80)


def table_size(size):
    return integer(size, 5, 0x20)


def fields(path, *more, method="GET", scheme="https", authority=NAME):
    """The fields of a request; None leaves a pseudo-header field out."""
    pseudo = [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)]
    return [*((name, value) for name, value in pseudo if value is not None), *more]


def block(all_fields):
    return b"".join(literal(name, value) for name, value in all_fields)


def request(stream, path, *more, end=True, **pseudo):
    return headers(stream, block(fields(path, *more, **pseudo)), end=end)
