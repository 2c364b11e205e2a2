"""A store in its network namespace: answers every GET and HEAD of an object, whatever the signature, and
misbehaves on command.

    store.py PORT

Each line on standard input is a command with its arguments as JSON, answered by one line of JSON:

    {"do": "mode", "mode": "ok"}           how requests are answered from now on, see `MODES`
    {"do": "listen", "on": false}          refuses connections, or accepts them again
    {"do": "doom"}                         the connections that are open now are reset at their next request
    {"do": "counts"}                       requests, connections and broken bodies so far; then all count from 0

objects.py has the bytes of the objects.
"""

import asyncio
import collections
import json
import re
import socket
import struct
import sys

from objects import body_of, etag_of

ERROR = b'<?xml version="1.0"?><Error><Code>%s</Code></Error>'
COUNTS = {"requests": 0, "connections": 0, "broken": 0}


class Connection:
    """What a mode needs of a connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.doomed = False
        self.requests = 0

    def reset(self):
        """Ends the connection by RST."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def head(self, status, headers):
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")

    async def send(self, status, headers, body, is_head):
        self.head(status, {"Content-Length": len(body), **headers})
        if not is_head:
            self.writer.write(body)
        await self.writer.drain()


class Store:
    def __init__(self, port):
        self.port = port
        self.mode = "ok"
        self.options = {}
        self.versions = collections.defaultdict(lambda: 1)
        self.bodies = 0
        self.broken = set()
        self.connections = set()
        self.counts = dict(COUNTS)
        self.server = None

    async def listen(self, on):
        if self.server:
            self.server.close()
            self.server = None
            for connection in list(self.connections):
                connection.reset()
        if on:
            self.server = await asyncio.start_server(
                self.serve, None, self.port, backlog=1024, reuse_address=True
            )

    async def serve(self, reader, writer):
        connection = Connection(reader, writer)
        self.connections.add(connection)
        self.counts["connections"] += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                if connection.doomed:
                    connection.reset()
                    return
                self.counts["requests"] += 1
                connection.requests += 1
                method, path, _ = head.split("\r\n", 1)[0].split(" ")
                headers = dict(
                    (name.lower(), value.strip())
                    for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])
                )
                if not await MODES[self.mode](self, connection, method, path, headers):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.connections.discard(connection)
            writer.close()

    async def command(self, wanted):
        match wanted["do"]:
            case "mode":
                self.mode = wanted["mode"]
                self.options = wanted
            case "listen":
                await self.listen(wanted["on"])
            case "doom":
                for connection in self.connections:
                    connection.doomed = True
                return {"doomed": len(self.connections)}
            case "counts":
                counts, self.counts = self.counts, dict(COUNTS)
                return {**counts, "open": len(self.connections)}
        return {}


def answer(store, path, headers):
    """Status, headers and body for the object, or the part of it that is asked for."""
    version = store.versions[path]
    body, etag = body_of(path, version), etag_of(path, version)
    common = {"ETag": etag, "x-amz-request-id": "tx1", "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT"}
    if headers.get("if-match", etag) != etag:
        return 412, {"Content-Type": "application/xml"}, ERROR % b"PreconditionFailed"
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
    if not asked:
        return 200, common, body
    first, last = int(asked[1]), int(asked[2] or len(body) - 1)
    last = min(last, len(body) - 1)
    common["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
    return 206, common, body[first : last + 1]


async def ok(store, connection, method, path, headers):
    """The object, or the part of it that is asked for."""
    status, common, body = answer(store, path, headers)
    await connection.send(status, common, body, method == "HEAD")
    return True


async def cut(store, connection, method, path, headers):
    """Every fifth body ends half-way, but only once of an object: by RST; or in silence, until the other side
    ends the connection (`silent`), unless it continues another. With `change` the object is another one from
    then on."""
    status, common, body = answer(store, path, headers)
    is_body = method == "GET" and status < 300
    if store.options.get("silent") and "if-match" in headers:
        is_body = False
    store.bodies += is_body
    if not is_body or store.bodies % 5 or path in store.broken:
        return await ok(store, connection, method, path, headers)
    store.broken.add(path)
    store.counts["broken"] += 1
    connection.head(status, {"Content-Length": len(body), **common})
    connection.writer.write(body[: len(body) // 2])
    await connection.writer.drain()
    if store.options.get("change"):
        store.versions[path] += 1
    if store.options.get("silent"):
        return await hang(store, connection, method, path, headers)
    # The first half leaves before the end does.
    await asyncio.sleep(0.05)
    connection.reset()
    return False


async def unfinished(store, connection, method, path, headers):
    """An error whose document stops half-way, until the other side ends the connection."""
    connection.head(store.options["status"], {
        "Content-Type": "application/xml", "Content-Length": 1000, "x-amz-request-id": "tx1"})
    connection.writer.write(b'<?xml version="1.0"?><Error><Code>')
    return await hang(store, connection, method, path, headers)


async def hang(store, connection, method, path, headers):
    """No answer at all, until the other side ends the connection."""
    await connection.reader.read(1)
    return False


async def slow(store, connection, method, path, headers):
    """The object after `delay` seconds."""
    await asyncio.sleep(store.options["delay"])
    return await ok(store, connection, method, path, headers)


async def error(store, connection, method, path, headers):
    """An error of the store."""
    status = store.options.get("status", 500)
    body = ERROR % b"InternalError"
    await connection.send(status, {"Content-Type": "application/xml"}, body, method == "HEAD")
    return True


async def reset(store, connection, method, path, headers):
    """The end of the connection in place of an answer."""
    connection.reset()
    return False


# What a store does with a request; true if the connection stays open.
MODES = {"ok": ok, "hang": hang, "slow": slow, "error": error, "reset": reset, "cut": cut,
         "unfinished": unfinished}


async def main():
    store = Store(int(sys.argv[1]))
    await store.listen(True)
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print(json.dumps({}), flush=True)
    while line := await commands.readline():
        print(json.dumps(await store.command(json.loads(line))), flush=True)


asyncio.run(main())
