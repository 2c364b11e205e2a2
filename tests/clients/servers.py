"""The servers of the run, each on loopback and on a port of its own: the store, which verifies
signatures and counts, the gateway, nginx, and one that answers as s3proxy 2.0.1 does."""

import contextlib
import http.client
import http.server
import json
import pathlib
import socket
import subprocess
import threading
import time
import urllib.parse

PROXIED = "/s3proxy/s3/lab@data/"
PATIENCE = 30  # seconds until a server must serve, or end
PIECE = 256 * 1024  # the read size of 2.0.1

# What the bucket holds besides FITS and TIFF has no media type of its own.
CONFIGURATION = """
listen: 127.0.0.1:{port}
admin: {{ listen: "127.0.0.1:{admin}" }}
credentials_file: {folder}/aws-credentials.ini
log: {{ format: production, level: WARNING }}
mime:
  also_allow: [application/octet-stream]
  default: application/octet-stream
cache:
  memory: 512MiB
  max_object: {max_object}
default_profile: {{ endpoint: "http://127.0.0.1:{store}" }}
profiles:
  lab: {{ endpoint: "http://127.0.0.1:{store}", buckets: [data] }}
"""

CREDENTIALS = """
[lab]
aws_access_key_id = {access_key}
aws_secret_access_key = {secret_key}

[default]
aws_access_key_id = {access_key}
aws_secret_access_key = {secret_key}
"""


# One process, which writes a line at the end of each request. The files are not cached: none of these
# settings is about what is sent, which is a static server's.
NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-errors.log;
events {{}}
http {{
  log_format counted '$request_method $status $body_bytes_sent $http_range';
  access_log {folder}/nginx-access.log counted;
  sendfile on;
  client_body_temp_path {folder}/nginx-temporary;
  proxy_temp_path {folder}/nginx-temporary;
  fastcgi_temp_path {folder}/nginx-temporary;
  uwsgi_temp_path {folder}/nginx-temporary;
  scgi_temp_path {folder}/nginx-temporary;
  server {{
    listen 127.0.0.1:{port} sndbuf=64k;
    root {bucket};
  }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end(process):
    """Ends a process that was started here."""
    if process.poll() is None:
        process.kill()
    process.wait(PATIENCE)


def settled(count):
    """The result of this function, once it has been the same three times: a reader may leave in the middle
    of an answer, and the gateway may read ahead for a moment."""
    deadline, last, equal = time.monotonic() + PATIENCE, None, 0
    while equal < 3:
        found = count()
        equal = equal + 1 if found == last else 0
        last = found
        if time.monotonic() > deadline:
            raise RuntimeError("the requests have no end")
        time.sleep(0.1)
    return last


class Store:
    """The S3 server of the Rust tests, over the files of a folder."""

    def __init__(self, stack, binary, folder):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([binary, folder], env={}, stdin=pipe, stdout=pipe, text=True)
        stack.callback(end, self.process)
        port, self.access_key, self.secret_key = self.line().split()
        self.port = int(port)

    def line(self):
        if line := self.process.stdout.readline():
            return line
        raise RuntimeError("the store has ended")

    def ask(self, question):
        print(question, file=self.process.stdin, flush=True)
        return json.loads(self.line())

    def take(self):
        """The requests since the last call, once no more arrive."""
        settled(lambda: self.ask("requests"))
        return self.ask("clear")

    def put(self, key):
        """Reads this file of the folder again, or for the first time."""
        self.ask(f"put {key}")


class Nginx:
    """Serves the files of a folder."""

    def __init__(self, stack, folder, bucket):
        self.port, self.log = free_port(), folder / "nginx-access.log"
        self.log.unlink(missing_ok=True)
        configuration = folder / "nginx.conf"
        configuration.write_text(NGINX.format(folder=folder, bucket=bucket, port=self.port))
        quiet = subprocess.DEVNULL
        command = ["nginx", "-e", folder / "nginx-errors.log", "-c", configuration]
        self.process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        stack.callback(end, self.process)
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("nginx does not serve")
            time.sleep(0.02)

    def url(self, key):
        return f"http://127.0.0.1:{self.port}/{key}"

    def take(self):
        """All requests, once no more arrive."""
        requests = []
        for line in settled(self.log.read_text).splitlines():
            method, status, sent, asked = line.split(" ", 3)
            requests.append({"method": method, "status": int(status), "bytes": int(sent), "range": asked})
        return requests


class Gateway:
    """A gateway with an empty cache."""

    def __init__(self, stack, binary, folder, store, max_object):
        self.port, self.admin, self.log = free_port(), free_port(), folder / "s3proxy.log"
        places = {"port": self.port, "admin": self.admin, "folder": folder, "store": store.port}
        places["max_object"] = max_object
        keys = {"access_key": store.access_key, "secret_key": store.secret_key}
        configuration = folder / "s3proxy.yaml"
        configuration.write_text(CONFIGURATION.format(**places))
        (folder / "aws-credentials.ini").write_text(CREDENTIALS.format(**keys))
        log = stack.enter_context(self.log.open("wb"))
        command = [binary, "serve", "--config", configuration]
        self.process = subprocess.Popen(
            command,
            env={"S3PROXY_UPSTREAM_PROBE": "false"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        stack.callback(end, self.process)
        self.wait()

    def wait(self):
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                if self.ask(self.port, "/")[0] == 200:
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the gateway does not serve: {self.said()}")
            time.sleep(0.02)

    def ask(self, port, path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def counters(self):
        """The answer to `GET /cache` on the admin listener."""
        return json.loads(self.ask(self.admin, "/cache")[1])

    def said(self):
        """Its log, which has only warnings and errors."""
        return self.log.read_text(errors="replace")

    def url(self, key):
        return f"http://127.0.0.1:{self.port}{PROXIED}{key}"


class Old:
    """Answers as s3proxy 2.0.1 does: no HEAD, every GET whole, in chunks, without length or tag."""

    def __init__(self, stack, folder):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.folder, self.server.bytes, self.server.lock = folder, 0, threading.Lock()
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        stack.callback(self.server.server_close)
        stack.callback(self.server.shutdown)

    def url(self, key):
        return f"http://127.0.0.1:{self.server.server_port}{PROXIED}{key}"


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def refuse(self, status, body, headers=()):
        body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in [*headers, ("Content-Type", "application/json")]:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.refuse(405, {"detail": "Method Not Allowed"}, [("Allow", "GET")])

    def do_GET(self):
        key = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).removeprefix(PROXIED)
        path = pathlib.Path(self.server.folder, key)
        if not path.is_file():
            self.refuse(404, {"message": f"Not found: s3://lab@data/{key}"})
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        with path.open("rb") as file, contextlib.suppress(OSError):
            while piece := file.read(PIECE):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                with self.server.lock:
                    self.server.bytes += len(piece)
            self.wfile.write(b"0\r\n\r\n")
