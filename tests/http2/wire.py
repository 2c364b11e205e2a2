"""A connection of HTTP/2 by hand: it sends whatever it is told to, and holds every frame of the server against the
RFC."""

import contextlib
import dataclasses
import select
import socket
import ssl
import time

import hpack

from frames import *  # noqa: F403

PATIENCE = 10  # seconds for anything that must happen
@dataclasses.dataclass
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes


@dataclasses.dataclass
class Answer:
    """The server's side of a stream."""

    status: int = 0
    fields: dict = dataclasses.field(default_factory=dict)
    body: bytearray = dataclasses.field(default_factory=bytearray)
    received: int = 0
    sizes: list = dataclasses.field(default_factory=list)
    done: bool = False
    window: int = 65535
    window_sent: int = 0


def context(alpn=("h2",), version=None):
    """TLS that trusts anybody: the subject is what follows the handshake."""
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if alpn:
        made.set_alpn_protocols(list(alpn))
    if version:
        made.minimum_version = made.maximum_version = version
    return made


H2 = context()


class Connection:
    """Sends bytes and reads frames at the same time. What the server does wrong by itself is in `violations`."""

    def __init__(self, port, own=(), preface=True, tls=None, replenish=True, buffer=None, keep_bodies=True, client=None):
        raw = socket.socket()
        if client:
            raw.bind((client, 0))
        if buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        raw.settimeout(PATIENCE)
        raw.connect(("127.0.0.1", port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # `tls=False`: none.
        self.socket = raw if tls is False else (tls or H2).wrap_socket(raw, server_hostname=NAME)
        self.socket.setblocking(False)
        self.replenish, self.keep_bodies = replenish, keep_bodies
        # Without a preface nothing is acknowledged: it would come before the bytes of the case, or between them.
        self.acknowledges = preface
        own = dict(own)
        self.initial_window = own.get(INITIAL_WINDOW_SIZE, 65535)
        self.max_frame = own.get(MAX_FRAME_SIZE, 16384)
        self.decoder = hpack.Decoder(max_header_list_size=2**20)
        self.table = own.get(HEADER_TABLE_SIZE, 4096)
        if HEADER_TABLE_SIZE in own:
            self.decoder.max_allowed_table_size = self.table
        self.window, self.server_settings, self.acknowledged, self.pongs = 65535, None, 0, []
        self.buffer, self.partial, self.queue = bytearray(), None, bytearray()
        self.answers, self.resets, self.goaway, self.violations = {}, {}, None, []
        self.closed, self.was_reset, self.updates, self.not_frames = False, False, {}, b""
        self.highest, self.seen = 0, 0
        if preface:
            self.pump(PREFACE + settings(*own.items()))

    # What is sent.

    def pump(self, sent=b"", until=lambda: True, seconds=PATIENCE):
        """Sends these bytes and reads meanwhile, until all are sent and `until` holds. Whether that happened in time,
        on an open connection."""
        self.queue += sent
        deadline = time.monotonic() + seconds
        while True:
            moved = self._read() + self._write()
            if not self.queue and until():
                return True
            if self.closed or time.monotonic() > deadline:
                return until() and not self.queue
            if not moved:
                writes = [self.socket] if self.queue else []
                with contextlib.suppress(OSError, ValueError):
                    select.select([self.socket], writes, [], min(0.2, max(0.001, deadline - time.monotonic())))

    def flood(self, sent, seconds, read=True):
        """Sends as much of these bytes as the server accepts in this time; how many it were."""
        left, deadline = memoryview(sent), time.monotonic() + seconds
        while left and not self.closed and time.monotonic() < deadline:
            moved = self._read() if read else 0
            self.queue.clear()
            wrote = self._send(left[:65536])
            left = left[wrote:]
            if not moved and not wrote:
                with contextlib.suppress(OSError, ValueError):
                    select.select([self.socket] if read else [], [self.socket], [], 0.05)
        return len(sent) - len(left)

    def drip(self, sent):
        """Sends byte by byte, each in a record of TLS of its own."""
        left = memoryview(sent)
        while left and not self.closed:
            left = left[self._send(left[:1]):]

    def _send(self, view):
        try:
            return self.socket.send(view)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return 0
        except OSError:
            # What the server said before it closed can still be read.
            while self._read():
                pass
            self.closed = True
            return 0

    def _write(self):
        if not self.queue or self.closed:
            return 0
        wrote = self._send(bytes(self.queue[:65536]))
        del self.queue[:wrote]
        return wrote

    def half_close(self):
        """Ends this side of the TCP connection."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def close(self):
        self.closed = True
        with contextlib.suppress(OSError):
            self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # What is received.

    def _read(self):
        if self.closed:
            return 0
        try:
            found = self.socket.recv(2**18)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return 0
        except (ConnectionResetError, BrokenPipeError):
            self.closed = self.was_reset = True
            return 0
        except (OSError, ValueError):
            self.closed = True
            return 0
        if not found:
            self.closed = True
            return 0
        self.buffer += found
        self._parse()
        return len(found)

    def _parse(self):
        at, have = 0, len(self.buffer)
        while have - at >= 9:
            length = int.from_bytes(self.buffer[at:at + 3], "big")
            if self.seen == 0 and (self.buffer[at + 3] != SETTINGS or length > 600):
                self.not_frames += self.buffer[at:]
                at = have
                break
            if have - at < 9 + length:
                break
            head = self.buffer[at + 3:at + 9]
            stream = int.from_bytes(head[2:], "big")
            self._take(Frame(head[0], head[1], stream & 0x7FFFFFFF, bytes(self.buffer[at + 9:at + 9 + length])), stream)
            at += 9 + length
        del self.buffer[:at]

    def wrong(self, what):
        if len(self.violations) < 20:
            self.violations.append(what)

    def _take(self, got, raw_stream):
        if len(got.payload) > self.max_frame:
            self.wrong(f"4.2: a frame of {len(got.payload)} bytes")
        if raw_stream >> 31:
            self.wrong("4.1: the reserved bit is set")
        if self.seen == 0 and got.flags & ACK:
            self.wrong("3.4: the first frame is an acknowledgement")
        self.seen += 1
        if self.partial and got.kind != CONTINUATION:
            self.wrong(f"6.10: a frame of kind {got.kind} inside of a header block")
        on_stream = got.kind in (DATA, HEADERS, PRIORITY, RST_STREAM, CONTINUATION)
        if on_stream and (got.stream == 0 or got.stream % 2 == 0):
            self.wrong(f"5.1.1: a frame of kind {got.kind} on stream {got.stream}")
        if got.kind in (SETTINGS, PING, GOAWAY) and got.stream:
            self.wrong(f"6: a frame of kind {got.kind} on stream {got.stream}")
        takers = {
            DATA: self._data, HEADERS: self._headers, CONTINUATION: self._continuation, RST_STREAM: self._reset,
            SETTINGS: self._settings, PING: self._ping, GOAWAY: self._goaway, WINDOW_UPDATE: self._window,
        }
        if got.kind == PUSH_PROMISE:
            self.wrong("8.4: a push")
        if taker := takers.get(got.kind):
            taker(got)

    def stream(self, number):
        if number not in self.answers:
            self.answers[number] = Answer(window=self.initial_window)
        return self.answers[number]

    def _data(self, got):
        answer, payload = self.stream(got.stream), got.payload
        if answer.done:
            self.wrong(f"5.1: DATA behind the end of stream {got.stream}")
        if not answer.status:
            self.wrong(f"8.1: DATA before HEADERS on stream {got.stream}")
        self.window -= len(payload)
        answer.window -= len(payload)
        if payload and (self.window < 0 or answer.window < 0):
            self.wrong(f"6.9: beyond the window: {self.window} of the connection, {answer.window} of stream {got.stream}")
        if got.flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        if self.keep_bodies:
            answer.body += payload
        answer.received += len(payload)
        answer.sizes.append(len(payload))
        if self.replenish and got.payload:
            self.grant(0, len(got.payload))
            if not got.flags & END_STREAM:
                self.grant(got.stream, len(got.payload))
        if got.flags & END_STREAM:
            self._ended(got.stream, answer)

    def _ended(self, number, answer):
        answer.done = True
        announced = answer.fields.get(b"content-length")
        if announced is not None and answer.received and int(announced) != answer.received:
            self.wrong(f"8.1.1: {answer.received} bytes of {announced} on stream {number}")

    def grant(self, stream, octets):
        """Widens a window; sent with whatever is sent next."""
        if stream == 0:
            self.window += octets
        else:
            self.stream(stream).window += octets
        self.queue += window(stream, octets)

    def _headers(self, got):
        payload = got.payload
        if got.flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        if got.flags & PRIORITIZED:
            payload = payload[5:]
        self.partial = (got.stream, bytearray(payload), bool(got.flags & END_STREAM))
        if got.flags & END_HEADERS:
            self._head()

    def _continuation(self, got):
        if not self.partial or self.partial[0] != got.stream:
            self.wrong(f"6.10: CONTINUATION on stream {got.stream} out of place")
            return
        self.partial[1].extend(got.payload)
        if got.flags & END_HEADERS:
            self._head()

    def _head(self):
        number, raw, end = self.partial
        self.partial = None
        try:
            found = self.decoder.decode(bytes(raw), raw=True)
        except hpack.HPACKError as error:
            self.wrong(f"RFC 7541: a header block that cannot be decoded: {error!r}")
            return
        answer = self.stream(number)
        if answer.done:
            self.wrong(f"5.1: HEADERS behind the end of stream {number}")
        names = [name for name, _ in found]
        trailers = bool(answer.status)
        pseudo = [name for name in names if name.startswith(b":")]
        if pseudo != ([] if trailers else [b":status"]) or pseudo != names[:len(pseudo)]:
            self.wrong(f"8.3.2: pseudo-header fields of an answer: {names}")
        for name, value in found:
            if name != name.lower() or name in OF_CONNECTION:
                self.wrong(f"8.2: a field that may not be in an answer: {name!r}")
            if value != value.strip(b" \t") or any(c in value for c in b"\0\r\n"):
                self.wrong(f"8.2.1: the value of {name!r}: {value!r}")
        if not trailers and pseudo:
            status = int(dict(found)[b":status"])
            if status >= 200:
                answer.status, answer.fields = status, dict(found)
        if end:
            self._ended(number, answer)

    def _reset(self, got):
        if len(got.payload) != 4:
            self.wrong(f"6.4: RST_STREAM of {len(got.payload)} bytes")
        self.resets.setdefault(got.stream, int.from_bytes(got.payload[:4], "big"))

    def _settings(self, got):
        if got.flags & ACK:
            self.acknowledged += 1
            if got.payload:
                self.wrong("6.5: an acknowledgement with a payload")
            return
        if len(got.payload) % 6:
            self.wrong(f"6.5: SETTINGS of {len(got.payload)} bytes")
        pairs = [got.payload[at:at + 6] for at in range(0, len(got.payload), 6)]
        found = {int.from_bytes(pair[:2], "big"): int.from_bytes(pair[2:], "big") for pair in pairs}
        if found.get(ENABLE_PUSH):
            self.wrong("6.5.2: a server that enables push")
        if not 16384 <= found.get(MAX_FRAME_SIZE, 16384) < 2**24 or found.get(INITIAL_WINDOW_SIZE, 0) >= 2**31:
            self.wrong(f"6.5.2: {found}")
        self.server_settings = {**(self.server_settings or {}), **found}
        if self.acknowledges:
            self.queue += settings(flags=ACK)

    def _ping(self, got):
        if len(got.payload) != 8:
            self.wrong(f"6.7: PING of {len(got.payload)} bytes")
        if got.flags & ACK:
            self.pongs.append(got.payload)
        else:
            self.queue += ping(got.payload, ACK)

    def _goaway(self, got):
        if len(got.payload) < 8:
            self.wrong(f"6.8: GOAWAY of {len(got.payload)} bytes")
        last = int.from_bytes(got.payload[:4], "big")
        if self.goaway and last > self.goaway[0]:
            self.wrong(f"6.8: the last stream of GOAWAY grows to {last}")
        self.goaway = last, int.from_bytes(got.payload[4:8], "big"), bytes(got.payload[8:])

    def _window(self, got):
        increment = int.from_bytes(got.payload, "big")
        if len(got.payload) != 4 or increment == 0:
            self.wrong(f"6.9: WINDOW_UPDATE {got.payload!r}")
        self.updates[got.stream] = self.updates.get(got.stream, 0) + increment

    # What tests ask for.

    def open(self):
        """Waits until the settings of both sides are known."""
        if not self.pump(until=lambda: self.server_settings is not None and self.acknowledged):
            raise Wrong(f"no settings: {self}")
        return self

    def get(self, path, *more, stream=None, seconds=PATIENCE, **pseudo):
        """The answer to one request, whole."""
        if stream is None:
            self.highest = stream = self.highest + 1 + self.highest % 2
        self.pump(request(stream, path, *more, **pseudo), lambda: self.ended(stream), seconds)
        answer = self.answers.get(stream)
        if not answer or not answer.done:
            raise Wrong(f"no answer on stream {stream}: {self}")
        return answer

    def ended(self, stream):
        return stream in self.resets or (stream in self.answers and self.answers[stream].done)

    def settle(self, seconds=PATIENCE):
        """Waits until the server has said all that it has to say to what it got: two round trips and a moment.
        Whether the connection is still open."""
        for number in range(2):
            mark = b"settled" + bytes([48 + number])
            self.pump(ping(mark), lambda mark=mark: mark in self.pongs or self.closed, seconds)
        if not self.closed:
            self.pump(until=lambda: self.closed, seconds=0.05 if self.goaway is None else 2)
        return not self.closed

    def __str__(self):
        said = [f"GOAWAY {code_name(self.goaway[1])} {self.goaway[2].decode(errors='replace')}".strip()] if self.goaway else []
        said += [f"RST_STREAM {stream} {code_name(code)}" for stream, code in list(self.resets.items())[:4]]
        said += [f"{answer.status} on {stream}" for stream, answer in list(self.answers.items())[:4] if answer.status]
        if self.not_frames:
            said.append(f"not HTTP/2: {self.not_frames[:60]!r}")
        said.append(("reset" if self.was_reset else "closed") if self.closed else "open")
        return ", ".join(said)


class Wrong(Exception):
    """The server did something else than the RFC demands."""
