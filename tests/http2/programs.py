"""Clients that others wrote read through the gateway by HTTP/2: curl, nghttp, h2load, and the Python package h2, which
is strict about what a server sends."""

import hashlib
import re
import shutil
import socket
import subprocess

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from verdicts import HUGE, LARGE, SMALL, TILES
from wire import H2, NAME, PATIENCE, Wrong


def said(command, **options):
    ran = subprocess.run(list(map(str, command)), capture_output=True, timeout=60, check=False, **options)
    if ran.returncode:
        raise Wrong(f"{command[0]}: {ran.returncode}, {ran.stderr.decode(errors='replace')[-500:]}")
    return ran.stdout


def url(server, name):
    return f"https://127.0.0.1:{server.tls_port}{server.prefix}{name}"


def curl(server, bodies):
    """Objects one after the other, and forty at once on one connection."""
    for name in SMALL, LARGE, HUGE:
        if said(["curl", "-sS", "-k", "--http2", url(server, name)]) != bodies[name]:
            raise Wrong(f"curl: other bytes of {name}")
    options = ["--parallel", "--parallel-max", "40", "-w", "%{http_version} %{num_connects}\\n"]
    for name in TILES:
        options += ["-o", "/dev/null", url(server, name)]
    lines = said(["curl", "-sS", "-k", "--http2", "--fail", *options]).decode().splitlines()
    versions = {line.split()[0] for line in lines}
    if versions != {"2"} or len(lines) != len(TILES):
        raise Wrong(f"curl: versions {versions}, {len(lines)} answers")
    return f"{len(TILES)} objects at once on {sum(int(line.split()[1]) for line in lines)} connection(s)"


def nghttp(server, bodies):
    """Small windows, padding, a small table for header fields, and many requests at once."""
    for options in [], ["-w", "4"], ["-w", "10", "-W", "12"], ["-b", "200"], ["-c", "0"], ["-p", "1"]:
        found = said(["nghttp", *options, url(server, LARGE)])
        if hashlib.sha256(found).digest() != hashlib.sha256(bodies[LARGE]).digest():
            raise Wrong(f"nghttp {options}: {len(found)} bytes that are not those of the object")
    text = said(["nghttp", "-n", "-s", "-m", "4", *(url(server, name) for name in TILES)]).decode()
    answers = re.findall(r"^ *\d+ .* (\d{3}) +\S+ /", text, re.MULTILINE)
    if answers != ["200"] * (4 * len(TILES)):
        raise Wrong(f"nghttp: {len(answers)} answers, {set(answers)}")
    return f"{len(answers)} answers at once"


def h2load(server, _):
    """Many requests on some connections, with all the streams that the server allows."""
    found = []
    for requests, streams, name in [(4000, 32, SMALL), (400, 10, LARGE), (1000, 1, SMALL)]:
        text = said(["h2load", "-n", requests, "-c", "4", "-m", streams, url(server, name)]).decode()
        done = re.search(r"requests: \d+ total, .*?(\d+) succeeded, (\d+) failed", text)
        status = re.search(r"status codes: (\d+) 2xx", text)
        if not done or (done[1], done[2]) != (str(requests), "0") or status[1] != str(requests):
            raise Wrong(f"h2load: {text}")
        found.append(requests)
    return f"{sum(found)} requests"


def package_h2(server, bodies):
    """Forty objects at once; h2 checks each frame."""
    with socket.create_connection(("127.0.0.1", server.tls_port), timeout=PATIENCE) as raw:
        with H2.wrap_socket(raw, server_hostname=NAME) as tls:
            connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
            connection.initiate_connection()
            wanted = {}
            for name in [*TILES, LARGE]:
                stream = connection.get_next_available_stream_id()
                wanted[stream] = (name, bytearray())
                pseudo = [(":method", "GET"), (":scheme", "https"), (":path", server.prefix + name), (":authority", NAME)]
                connection.send_headers(stream, [*pseudo, ("priority", "u=2, i")], end_stream=True)
            ended = 0
            while ended < len(wanted):
                tls.sendall(connection.data_to_send())
                for event in connection.receive_data(tls.recv(65536)):
                    if isinstance(event, h2.events.DataReceived):
                        wanted[event.stream_id][1].extend(event.data)
                        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, h2.events.StreamEnded):
                        ended += 1
                    elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                        raise Wrong(f"h2: {event}")
            for name, body in wanted.values():
                if bytes(body) != bodies[name]:
                    raise Wrong(f"h2: other bytes of {name}")
            return f"{ended} objects at once"


def run(server, bodies):
    """What each client said, and the failures."""
    failures = []
    for name, client, program in [
        ("curl", curl, "curl"), ("nghttp", nghttp, "nghttp"), ("h2load", h2load, "h2load"), ("h2 (Python)", package_h2, None),
    ]:
        if program and not shutil.which(program):
            print(f"SKIPPED {name}: not installed")
            continue
        try:
            print(f"ok {name}: {client(server, bodies)}", flush=True)
        except (Wrong, OSError, subprocess.TimeoutExpired, h2.exceptions.H2Error) as error:
            failures.append(f"{name}: {error}")
            print(f"FAILED {name}: {error}", flush=True)
    return failures
