"""Readers that read 1 MiB/s each, even if the server could send more."""

import contextlib
import socket
import sys
import time

RATE = 2**20  # bytes a second
TICKS = 16  # a second
BEGINNING = 64 * 1024  # bytes of each body that are compared
# Unread bytes wait at the server rather than in the reader's kernel.
WINDOW = 128 * 1024


class Reader:
    """One connection: what it has received so far, and when the first of it came."""

    def __init__(self, stack, server, path):
        self.path, self.received, self.first_byte = path, 0, None
        self.head, self.beginning = b"", b""
        self.started = time.monotonic()
        self.socket = stack.enter_context(socket.socket())
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", server.port))
        request = f"GET {server.base}{path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n"
        self.socket.sendall(request.encode())
        self.socket.setblocking(False)

    def take(self, most):
        """Reads at most this number of bytes, of those that have arrived."""
        with contextlib.suppress(BlockingIOError):
            while most > 0:
                piece = self.socket.recv(min(most, 2**16))
                if not piece:
                    sys.exit(f"{self.path}: the answer to a slow reader broke off: {self.head}")
                most -= len(piece)
                self.first_byte = self.first_byte or time.monotonic()
                self.body(piece)

    def body(self, piece):
        if b"\r\n\r\n" not in self.head:
            self.head, end, piece = (self.head + piece).partition(b"\r\n\r\n")
            self.head += end
        self.received += len(piece)
        self.beginning += piece[: BEGINNING - len(self.beginning)]

    def refuse_wrong(self, server, size):
        status, *headers = self.head.decode("latin-1").lower().split("\r\n")
        if " 200 " not in status or f"content-length: {size}" not in headers or not self.received:
            sys.exit(f"{server.name}, {self.path}: a slow reader got {self.received} bytes: {self.head}")


def read(server, paths, size, seconds):
    """Reads these objects of this size, for this number of seconds. Returns per reader the number of
    body bytes received and the first of these bytes, then per reader the seconds to its first byte."""
    with contextlib.ExitStack() as stack:
        readers = [Reader(stack, server, path) for path in paths]
        started = time.monotonic()
        for tick in range(1, seconds * TICKS + 1):
            time.sleep(max(0, started + tick / TICKS - time.monotonic()))
            for reader in readers:
                reader.take(tick * RATE // TICKS - reader.received)
        for reader in readers:
            reader.refuse_wrong(server, size)
        return (
            [(reader.received, reader.beginning) for reader in readers],
            [reader.first_byte - reader.started for reader in readers],
        )
