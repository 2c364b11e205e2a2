"""The servers of the run, each on loopback: the gateway in front of the store of tests/clients, and nginx, which
serves the same files. Both speak HTTP/2 over TLS."""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))
from servers import PROXIED, Store, end, free_port  # noqa: E402
from verdicts import HUGE, LARGE, SMALL, TILES  # noqa: E402
from wire import NAME, PATIENCE, Connection, Wrong  # noqa: E402

CONFIGURATION = """
listen: ["127.0.0.1:{port}", "127.0.0.1:{prior_port} http2"]
admin: {{ listen: "127.0.0.1:{admin}" }}
tls:
  listen: 127.0.0.1:{tls_port}
  certificate_file: {folder}/tls.crt
  key_file: {folder}/tls.key
credentials_file: {folder}/aws-credentials.ini
log: {{ format: production, level: WARNING }}
server: {{ lame_duck: 500ms, grace_period: 10s, direct_hits: {direct_hits} }}
cache: {{ memory: 256MiB }}
downstream: {{ {downstream} }}
profiles:
  lab: {{ endpoint: "http://127.0.0.1:{store}", buckets: [data] }}
  pass: {{ endpoint: "http://127.0.0.1:{store}", buckets: [data], cache: {{ store: false }} }}
"""
KEYS = "aws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
CREDENTIALS = f"[lab]\n{KEYS}[pass]\n{KEYS}"

NGINX = """
{user}
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-errors.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  types {{ image/png png; }}
  client_body_temp_path {folder}/nginx; proxy_temp_path {folder}/nginx; fastcgi_temp_path {folder}/nginx;
  uwsgi_temp_path {folder}/nginx; scgi_temp_path {folder}/nginx;
  client_header_timeout 2s; send_timeout 3s; keepalive_timeout 4s;
  server {{
    listen 127.0.0.1:{port};
    listen 127.0.0.1:{prior_port} http2;
    listen 127.0.0.1:{tls_port} ssl http2;
    ssl_certificate {folder}/tls.crt; ssl_certificate_key {folder}/tls.key;
    location {prefix} {{ alias {folder}/bucket/data/; }}
  }}
}}
"""


def bodies():
    """The objects: bytes that depend on their place."""
    chance = random.Random(9113)
    lengths = {SMALL: 1000, LARGE: 300_000, HUGE: 6_000_000, **{name: 20_000 for name in TILES}}
    return {name: chance.randbytes(length) for name, length in lengths.items()}


def certificate(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", folder / "tls.key",
         "-out", folder / "tls.crt"],
        check=True, capture_output=True,
    )


class Server:
    """A process with a port for TLS, a plain one, and a plain one for HTTP/2; its CPU and memory."""

    # Of the objects, and of the same ones where they are not cached.
    prefix, uncached = PROXIED, PROXIED
    store = None

    def __init__(self):
        self.port, self.tls_port, self.prior_port = free_port(), free_port(), free_port()

    def start(self, stack, command, log):
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command], env={"S3PROXY_UPSTREAM_PROBE": "false", "PATH": os.environ["PATH"]},
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )
        self.log = log
        stack.callback(end, self.process)
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError, Wrong), Connection(self.tls_port) as connection:
                if connection.open().get(self.prefix + SMALL).status == 200:
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{command[0]} does not serve HTTP/2: {self.said()}")
            time.sleep(0.1)

    def said(self):
        return self.log.read_text(errors="replace")

    def cpu(self):
        """Seconds of CPU so far."""
        text = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, field="VmRSS"):
        """Resident memory, MiB: now, or `VmHWM`, the most since `forget_peak`."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
        return 0

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)


class Gateway(Server):
    uncached = PROXIED.replace("lab@", "pass@")

    def __init__(self, stack, folder, binary, store, name, downstream="", direct_hits="true"):
        super().__init__()
        self.store, self.admin = store, free_port()
        configuration = folder / f"{name}.yaml"
        configuration.write_text(CONFIGURATION.format(
            port=self.port, tls_port=self.tls_port, prior_port=self.prior_port, admin=self.admin, folder=folder,
            store=store.port, downstream=downstream, direct_hits=direct_hits,
        ))
        keys = CREDENTIALS.format(access_key=store.access_key, secret_key=store.secret_key)
        (folder / "aws-credentials.ini").write_text(keys)
        self.start(stack, [binary, "serve", "--config", configuration], folder / f"{name}.log")


class Nginx(Server):
    def __init__(self, stack, folder):
        super().__init__()
        (folder / "nginx").mkdir(exist_ok=True)
        configuration = folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        configuration.write_text(NGINX.format(
            user=user, folder=folder, port=self.port, tls_port=self.tls_port, prior_port=self.prior_port,
            prefix=self.prefix,
        ))
        errors = folder / "nginx-errors.log"
        self.start(stack, ["nginx", "-e", errors, "-c", configuration], errors)


def prepare(stack, folder, store_binary):
    """Writes the objects and the certificate, and starts the store."""
    found = bodies()
    bucket = folder / "bucket" / "data"
    bucket.mkdir(parents=True)
    for name, body in found.items():
        (bucket / name).write_bytes(body)
    certificate(folder)
    return found, Store(stack, store_binary, folder / "bucket")
