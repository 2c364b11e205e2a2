"""What the tests of the image share: a store with one tile, the gateway in front of it, and requests."""

import http.client
import os
import socket
import subprocess
import time

STORE = os.environ["S3PROXY_TEST_STORE"]
PATIENCE = 60  # seconds until something must have happened
TILE = bytes(range(256)) * 1000


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end(process):
    if process.poll() is None:
        process.kill()
    process.wait(PATIENCE)
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


def store(case, folder):
    """A store with the tile sky/Norder3/Npix1.png until the case ends: its port, access key and secret key."""
    tile = folder / "objects/sky/Norder3/Npix1.png"
    tile.parent.mkdir(parents=True)
    tile.write_bytes(TILE)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    started = subprocess.Popen([STORE, tile.parents[2]], env={}, text=True, **pipes)
    case.addClassCleanup(end, started)
    return started.stdout.readline().split()


def ask(port, method, path, **fields):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request(method, path, headers=fields)
    answer = connection.getresponse()
    answer.body = answer.read()
    connection.close()
    return answer


def await_gateway(process, port, why):
    """Until the gateway serves; `why` returns what is known when it does not."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            if ask(port, "GET", "/").status == 200:
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"the gateway does not serve: {why()}") from None
            time.sleep(0.05)
