"""Cases of RFC 7541: header blocks in every form, and those that are none."""

from verdicts import LARGE, SMALL, answered, case, closed_by_end, idle, malformed, not_compressed, right, table
from wire import *  # noqa: F403


def base(lab):
    return block(fields(lab.path(SMALL)))


def is_answered(lab, connection, stream=1):
    right(lab, answered(connection, stream, 200), SMALL)


def compressed(sent):
    """A request whose block ends with these bytes."""
    return lambda lab: headers(1, base(lab) + sent)


table(
    idle, is_answered,
    ("RFC 7541, 6.1", "indexed fields of the static table", lambda lab: headers(1, indexed(2) + indexed(7) + literal(4, lab.path(SMALL)) + literal(1, NAME))),
    ("RFC 7541, 6.2.1", "a literal that is added, with an indexed name", lambda lab: headers(1, indexed(2) + indexed(7) + literal(4, lab.path(SMALL), 0x40) + literal(1, NAME, 0x40))),
    ("RFC 7541, 6.2.1", "a literal that is added, with a new name", compressed(literal("x-test", "a", 0x40))),
    ("RFC 7541, 6.2.2", "a literal that is not indexed, with an indexed name", compressed(literal(58, "agent"))),
    ("RFC 7541, 6.2.2", "a literal that is not indexed, with a new name", compressed(literal("x-test", "a"))),
    ("RFC 7541, 6.2.3", "a literal that is never indexed, with an indexed name", compressed(literal(58, "agent", 0x10))),
    ("RFC 7541, 6.2.3", "a literal that is never indexed, with a new name", compressed(literal("x-test", "a", 0x10))),
    ("RFC 7541, 5.2", "names and values in Huffman's code", lambda lab: headers(1, b"".join(literal(name, value, huffman=True) for name, value in fields(lab.path(SMALL))))),
    ("RFC 7541, 5.2", "an empty value", compressed(literal("x-test", ""))),
    ("RFC 7541, 6.3", "a change of the table's size", lambda lab: headers(1, table_size(128) + base(lab))),
    ("RFC 7541, 6.3", "two changes of the table's size", lambda lab: headers(1, table_size(0) + table_size(4096) + base(lab))),
    ("RFC 7541, 4.4", "a field larger than the table: the table is empty, and nothing is wrong", lambda lab: headers(1, table_size(64) + base(lab) + literal("x-test", "a" * 200, 0x40))),
)
table(
    idle, lambda lab, connection: not_compressed(connection),
    ("RFC 7541, 2.3.3", "an index that does not exist", compressed(indexed(70))),
    ("RFC 7541, 2.3.3", "a name by an index that does not exist", compressed(literal(70, "a"))),
    ("RFC 7541, 6.1", "index 0", compressed(indexed(0))),
    ("RFC 7541, 4.2", "a change of the table's size behind a field", compressed(table_size(100))),
    ("RFC 7541, 6.3", "a table larger than the setting allows", lambda lab: headers(1, table_size(4097) + base(lab))),
    ("RFC 7541, 6.3", "a table of 2147483647 bytes", lambda lab: headers(1, table_size(2**31 - 1) + base(lab))),
    ("RFC 7541, 5.1", "an integer that is too large", compressed(b"\xff" + b"\xff" * 10 + b"\x0f")),
    ("RFC 7541, 5.1", "an integer without its end", compressed(b"\xff\xff")),
    ("RFC 7541, 5.2", "a string longer than the block", compressed(b"\0\x05x-tes")),
    ("RFC 7541, 5.2", "a string of 2147483647 bytes", compressed(b"\0" + integer(2**31 - 1, 7) + b"x")),
    ("RFC 7541, 5.2", "Huffman's code with more than 7 bits of padding", compressed(b"\0\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")),
    ("RFC 7541, 5.2", "Huffman's code with padding of zeros", compressed(b"\0\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90")),
    ("RFC 7541, 5.2", "Huffman's code with its end of string", compressed(b"\0\x85\xf2\xb2\x4a\x84\xff\x87\xff\xff\xff\xfd\x25\x42\x7f")),
    ("4.3", "a block that ends inside of a field", lambda lab: headers(1, base(lab)[:-1])),
)


@case("RFC 7541, 2.3.2", "fields of an earlier request, by their index")
def _(lab):
    connection = lab.open()
    connection.pump(headers(1, indexed(2) + indexed(7) + literal(4, lab.path(SMALL), 0x40) + literal(1, NAME, 0x40)))
    right(lab, answered(connection, 1, 200), SMALL)
    connection.pump(headers(3, indexed(2) + indexed(7) + indexed(63) + indexed(62)))
    right(lab, answered(connection, 3, 200), SMALL)


@case("RFC 7541, 4.4", "a field that was evicted cannot be named")
def _(lab):
    connection = lab.open()
    connection.pump(headers(1, base(lab) + literal("x-one", "a", 0x40)))
    answered(connection, 1, 200)
    connection.pump(headers(3, base(lab) + indexed(62)))
    answered(connection, 3, 200)
    connection.pump(headers(5, table_size(0) + table_size(4096) + base(lab) + indexed(62)))
    not_compressed(connection)


@case("RFC 7541, 4.1", "the table has the size that its fields have: name, value and 32 bytes each")
def _(lab):
    connection = lab.open()
    # Three fields of 100 bytes in a table of 299.
    field = [literal("x-%03d" % number, "a" * 63, 0x40) for number in range(3)]
    connection.pump(headers(1, table_size(299) + base(lab) + b"".join(field)))
    answered(connection, 1, 200)
    connection.pump(headers(3, base(lab) + indexed(63)))
    answered(connection, 3, 200)
    connection.pump(headers(5, base(lab) + indexed(64)))
    not_compressed(connection)


@case("RFC 7541, 2.2", "the table is right after a request that was refused")
def _(lab):
    connection = lab.open()
    connection.pump(headers(1, block(fields(lab.never(), ("Upper", "x"))) + literal("x-one", lab.path(SMALL), 0x40)))
    malformed(connection, 1)
    if connection.closed:
        return  # a stream error may be one of the connection
    connection.pump(headers(3, indexed(2) + indexed(7) + literal(1, NAME) + literal(4, lab.path(SMALL), 0x40) + indexed(63)))
    right(lab, answered(connection, 3, 200), SMALL)
    connection.pump(headers(5, indexed(2) + indexed(7) + literal(1, NAME) + indexed(62)))
    right(lab, answered(connection, 5, 200), SMALL)


@case("RFC 7541, 2.2", "the table is right after a request on a stream that is closed")
def _(lab):
    connection = lab.open()
    connection.pump(headers(1, base(lab)) + reset(1) + headers(3, base(lab) + literal("x-one", "a", 0x40)) + reset(3))
    connection.settle()
    connection.pump(headers(5, base(lab) + indexed(62)))
    right(lab, answered(connection, 5, 200), SMALL)


@case("RFC 7541, 4.2", "the server makes its table as small as the client wishes")
def _(lab):
    # The decoder of this connection demands it.
    connection = lab.open(own={HEADER_TABLE_SIZE: 0})
    for _ in range(3):
        right(lab, connection.get(lab.path(SMALL)), SMALL)


@case("RFC 7541, 4.2", "the server makes its table smaller in the middle")
def _(lab):
    connection = lab.open()
    right(lab, connection.get(lab.path(SMALL)), SMALL)
    connection.pump(settings((HEADER_TABLE_SIZE, 50)), lambda: connection.acknowledged == 2)
    connection.decoder.max_allowed_table_size = 50
    for name in SMALL, LARGE, SMALL:
        right(lab, connection.get(lab.path(name)), name)


@case("RFC 7541, 4.2", "a table that the client allows to be large")
def _(lab):
    connection = lab.open(own={HEADER_TABLE_SIZE: 2**32 - 1})
    for _ in range(3):
        right(lab, connection.get(lab.path(SMALL)), SMALL)


@case("RFC 7541, 5.1", "a header block in pieces of one byte")
def _(lab):
    connection = lab.open()
    # Four pieces: the number of CONTINUATION frames may be limited.
    whole = indexed(2) + indexed(7) + literal(4, lab.path(SMALL)) + literal(1, NAME)
    connection.pump(
        headers(1, whole[:1], flags=0) + continuation(1, whole[1:2], end=False) + continuation(1, whole[2:3], end=False)
        + continuation(1, whole[3:])
    )
    right(lab, answered(connection, 1, 200), SMALL)


table(
    closed_by_end, lambda lab, connection: not_compressed(connection),
    ("RFC 7541, 2.3.3", "an index that does not exist, after a request that was answered", lambda lab: headers(3, base(lab) + indexed(70))),
)
