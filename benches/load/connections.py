"""Idle connections: plain, over TLS, and of HTTP/2 by its frames (RFC 9113)."""

import socket
import ssl
import time

import stage

PLAIN, TLS, HTTP2 = WAYS = "", " over TLS", " over HTTP/2 (TLS)"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, ACK, END_HEADERS = 1, 1, 4


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def request(path):
    """HEADERS of a GET. The fields are by their number in the static table (RFC 7541, appendix A): :method GET, :scheme
    https, and the names :path and :authority with values of their own."""
    value = lambda text: bytes([len(text)]) + text.encode()
    return frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x82\x87\x04" + value(path) + b"\x01" + value("h"))


class Http1:
    def __init__(self, stream):
        self.stream = stream

    def get(self, path, length):
        self.stream.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        received = b""
        while len(received.partition(b"\r\n\r\n")[2]) < length:
            piece = self.stream.recv(65536)
            assert piece, received
            received += piece

    def close(self):
        self.stream.close()


class Http2:
    """A connection after the settings of both sides were exchanged."""

    def __init__(self, stream):
        assert stream.selected_alpn_protocol() == "h2"
        self.stream, self.bytes = stream, stream.makefile("rb")
        stream.sendall(PREFACE + frame(SETTINGS, 0, 0))
        seen = set()
        while seen < {0, ACK}:
            kind, flags, _ = self.frame()
            if kind == SETTINGS:
                seen.add(flags)
        stream.sendall(frame(SETTINGS, ACK, 0))

    def frame(self):
        head = self.bytes.read(9)
        assert len(head) == 9, "the connection has ended"
        return head[3], head[4], self.bytes.read(int.from_bytes(head[:3], "big"))

    def get(self, path, length):
        self.stream.sendall(request(path))
        received, flags, kind = 0, 0, None
        while not (kind in (DATA, HEADERS) and flags & END_STREAM):
            kind, flags, payload = self.frame()
            received += len(payload) if kind == DATA else 0
        assert received == length, received

    def close(self):
        self.bytes.close()
        self.stream.close()


def client(way, port, trust):
    raw = socket.create_connection(("127.0.0.1", port), timeout=60)
    if way == PLAIN:
        return Http1(raw)
    stream = trust.wrap_socket(raw)
    return Http2(stream) if way == HTTP2 else Http1(stream)


def memory(start, folder, way, count, key, length):
    """Bytes of memory of each connection: before a request, after a hit, and when all have left."""
    settings, port = {"downstream": {"max_connections": count + 64}}, None
    if way != PLAIN:
        port = stage.free_port()
        files = {"certificate_file": str(folder / "tls.crt"), "key_file": str(folder / "tls.key")}
        settings["tls"] = {"listen": f"127.0.0.1:{port}", **files}
    gateway = start(settings)
    assert gateway.get(key) == (200, length)
    trust = ssl._create_unverified_context()
    trust.set_alpn_protocols(["h2" if way == HTTP2 else "http/1.1"])
    # What is needed once is there before.
    client(way, port or gateway.port, trust).close()
    time.sleep(0.5)
    before = gateway.memory()
    each = lambda: (gateway.memory() - before) / count
    opened = [client(way, port or gateway.port, trust) for _ in range(count)]
    time.sleep(1.5)
    sizes = {"idle" if way else "silent": each()}
    for one in opened:
        one.get(stage.PROXIED + key, length)
    time.sleep(1.5)
    sizes["after a hit"] = each()
    for one in opened:
        one.close()
    time.sleep(3)
    return {**sizes, "all closed": each()}
