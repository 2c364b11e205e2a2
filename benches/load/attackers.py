"""Abusive clients: idle ones, ones that send their request heads byte by byte, ones whose heads never end,
and ones that read large objects slowly. All in one process, without a thread each."""

import contextlib
import selectors
import socket
import time

import slow

ENDLESS = b"X-Endless: " + b"x" * 65_000 + b"\r\n"
BEGINNING = b"GET / HTTP/1.1\r\nHost: siege\r\n"


class Counts(dict):
    def add(self, name, number=1):
        self[name] = self.get(name, 0) + number


def connect(port):
    client = socket.socket()
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        client.connect(("127.0.0.1", port))
    return client


def status_of(answer):
    return answer.split(b" ", 2)[1].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "no answer"


class Trickler:
    """Sends a byte of its head every half second, and reconnects when it is disconnected."""

    pause = 0.5

    def __init__(self, port, counts):
        self.port, self.counts, self.name = port, counts, "trickled heads"
        self.client, self.sent, self.due = connect(port), 0, time.monotonic()

    def again(self, answer):
        self.counts.add(f"{self.name}: {status_of(answer)}")
        self.client.close()
        self.client, self.sent = connect(self.port), 0

    def move(self):
        answer = b""
        try:
            answer = self.client.recv(65_536)
            return self.again(answer)
        except BlockingIOError:
            pass
        except OSError:
            return self.again(answer)
        try:
            self.send()
        except BlockingIOError:
            pass
        except OSError:
            self.again(b"")

    def send(self):
        self.client.send((BEGINNING + b"X-Slow: " + b"x" * 10_000)[self.sent : self.sent + 1])
        self.sent += 1


class Flooder(Trickler):
    """Sends a head of 1 MB as fast as it is taken, and reconnects when it is disconnected."""

    pause = 0.1

    def __init__(self, port, counts):
        super().__init__(port, counts)
        self.name = "heads of 1 MB"

    def send(self):
        self.client.send(BEGINNING if self.sent == 0 else ENDLESS)
        self.sent += 1
        if self.sent > 16:
            self.again(b"HTTP/1.1 swallowed it")


def besiege(server, seconds, idle, tricklers, flooders, readers):
    """Attacks for this time, and counts the results. `readers` are paths of objects read at 1 MiB/s each."""
    counts = Counts()
    with contextlib.ExitStack() as stack:
        idlers = [connect(server.port) for _ in range(idle)]
        movers = [Trickler(server.port, counts) for _ in range(tricklers)]
        movers += [Flooder(server.port, counts) for _ in range(flooders)]
        slow_ones = [slow.Reader(stack, server, path) for path in readers]
        watched = selectors.DefaultSelector()
        for client in idlers:
            watched.register(client, selectors.EVENT_READ)
        started = time.monotonic()
        while (passed := time.monotonic() - started) < seconds:
            for mover in movers:
                if time.monotonic() >= mover.due:
                    mover.due += mover.pause
                    mover.move()
            for reader in slow_ones:
                reader.take(int(passed * slow.RATE) - reader.received)
            for key, _ in watched.select(timeout=0):
                watched.unregister(key.fileobj)
                counts.add("idle ones cut off")
            time.sleep(0.02)
        counts.add("slow readers' MiB", sum(reader.received for reader in slow_ones) // 2**20)
        counts.add("slow readers served", sum(reader.received > 0 for reader in slow_ones))
        for client in [*idlers, *(mover.client for mover in movers)]:
            client.close()
    return dict(sorted(counts.items()))
