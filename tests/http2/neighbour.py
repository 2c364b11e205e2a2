"""A client that behaves, in a process of its own: one request after the other, by HTTP/2. `begin` on standard input
begins to count, `end` prints a line of JSON: the milliseconds of each request, and what was wrong. Every fiftieth
request opens a new connection, and its time includes the handshakes."""

import contextlib
import json
import os
import select
import sys
import time

from wire import Connection, Wrong

PAUSE = 0.004
PATIENCE = 10
FIFTIETH = 50


def commands():
    """The commands that have come so far; none at the end of the input."""
    if select.select([sys.stdin], [], [], 0)[0]:
        found = os.read(0, 1000)
        return found.decode().split() if found else ["quit"]
    return []


def ask(connection, port, path, length):
    """One request; the connection for the next one."""
    if connection is None or connection.closed or connection.goaway or connection.highest > 2 * FIFTIETH:
        if connection:
            connection.close()
        connection = Connection(port).open()
    answer = connection.get(path, seconds=PATIENCE)
    if (answer.status, len(answer.body)) != (200, length):
        raise Wrong(f"{answer.status}, {len(answer.body)} bytes")
    return connection


def main():
    port, path, length = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    connection, times, wrong = None, [], []
    while True:
        for command in commands():
            if command == "quit":
                return
            if command == "end":
                print(json.dumps({"times": times, "wrong": wrong[:5], "failed": len(wrong)}), flush=True)
            times, wrong = [], []
        begun = time.monotonic()
        try:
            connection = ask(connection, port, path, length)
        except (Wrong, OSError) as error:
            wrong.append(f"{type(error).__name__}: {error}")
            with contextlib.suppress(AttributeError):
                connection.close()
            connection = None
        times.append(1000 * (time.monotonic() - begun))
        time.sleep(PAUSE)


main()
