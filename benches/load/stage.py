"""The servers of a load run, each a process of its own on loopback: a static nginx that plays the
store, the gateway, and, to compare with, Debian's nginx as a plain reverse proxy and a bare Pingora."""

import contextlib
import http.client
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")

# The path under which both proxies serve the store's bucket.
PROXIED = "/s3proxy/s3/bench@bucket/"
DIRECT = "/bucket/"

# The answer of S3 to a missing key.
NO_SUCH_KEY = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchKey</Code><BucketName>bucket'
    "</BucketName><RequestId>tx00000000000000000000a-0000000000-1234-default</RequestId>"
    "<HostId>1234-default-default</HostId></Error>"
)

# What both nginxes share. Every folder is named so that nothing outside the run's own is touched.
NGINX = """
{user}
daemon off;
worker_processes {workers};
worker_rlimit_nofile 8192;
pid {folder}/{name}.pid;
error_log {folder}/{name}.errors warn;
events {{ worker_connections 2048; }}
http {{
  types {{ image/jpeg jpg; image/fits fits; application/xml xml; }}
  client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp; fastcgi_temp_path {folder}/tmp;
  uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
  sendfile on; tcp_nopush {nopush}; tcp_nodelay on;
  keepalive_requests 1000000000; keepalive_timeout 75s;
  {http}
}}
"""

STORE = """
  access_log off;
  open_file_cache max=100 inactive=1h;
  server {{
    listen 127.0.0.1:{port}{tls};
    root {folder}/store;
    add_header x-amz-request-id tx00000000000000000000a-0000000000-1234-default always;
    error_page 404 /404.xml;
  }}
"""

# About the content of the gateway's log line.
LOG_FORMAT = """
  log_format json escape=json '{{"time":"$time_iso8601","remote":"$remote_addr",'
    '"method":"$request_method","path":"$request_uri","status":$status,'
    '"bytes_sent":$body_bytes_sent,"request_time":$request_time,'
    '"upstream_time":"$upstream_response_time","cache":"$upstream_cache_status",'
    '"user_agent":"$http_user_agent","request_id":"$request_id"}}';
  access_log {log};
"""

# Keep-alive to the store, buffers that hold a read of the store's, and nothing on disk.
PROXY = LOG_FORMAT + """
  upstream store {{
    server 127.0.0.1:{store};
    keepalive 128; keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port};
    location {proxied} {{
      proxy_pass {scheme}://store/bucket/;
      {trust}
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffer_size 16k; proxy_buffers 16 32k; proxy_busy_buffers_size 64k;
      proxy_max_temp_file_size 0;
    }}
  }}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def missing(commands):
    """The Debian packages of those commands that are not there."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    absent = [command for command in commands if shutil.which(command) is None]
    return [{"varnishd": "varnish"}.get(command, command) for command in absent]


def need(*commands):
    """Ends the run with the packages to install, unless all the commands are there."""
    if packages := missing(commands):
        sys.exit(f"this run needs {' and '.join(packages)}: apt-get install {' '.join(packages)}")


def install(*commands):
    """Installs the packages of those commands that are not there."""
    if packages := missing(commands):
        subprocess.run([ROOT / ".ci" / "install", *packages], check=True)


def run_folder(stack):
    """A folder that lives as long as the run, however that ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="s3proxy-load."))
    return pathlib.Path(folder)


def gateway_binary(given):
    """The binary to measure: the one given, or a build of this tree with the profile `dist`."""
    if given:
        return pathlib.Path(given).resolve()
    return built("--bin", "s3proxy", "s3proxy")


def example_binary(name):
    """A server or client of the load runs that is written in Rust."""
    return built("--example", name, f"examples/{name}")


def json_log(folder, name):
    """nginx's `access_log` of the format above, written as rarely as the gateway writes its own."""
    return f"{folder}/{name}.log json buffer=64k flush=1s"


def built(kind, name, path):
    subprocess.run(["cargo", "build", "--profile", "dist", kind, name], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "dist" / path


class Server:
    """One server: a process, and with nginx its workers; on these CPUs alone where they are given."""

    files = None  # the folder of a cache that is kept in files
    scheme = "http"

    def __init__(self, stack, name, port, base, command, output, env=None, cpus=None):
        self.name, self.port, self.base = name, port, base
        self.process = subprocess.Popen(
            [str(part) for part in command],
            env=env,
            preexec_fn=cpus and (lambda: os.sched_setaffinity(0, cpus)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        stack.callback(self.stop)
        self.wait(pathlib.Path(output.name))

    def wait(self, output):
        """Until the server accepts connections."""
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{self.name} does not start: {output.read_text(errors='replace')}")
            time.sleep(0.02)

    def stop(self):
        # Both end at once on SIGINT; nothing here is worth a graceful end.
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def url(self, key):
        return f"{self.scheme}://127.0.0.1:{self.port}{self.base}{key}"

    def pids(self):
        pid = self.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def cpu(self):
        """Seconds of user and of system time so far, over all threads and workers, also ended ones."""
        user = system = 0
        for pid in self.pids():
            # The name in parentheses may hold anything; the fields are counted from its end.
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            user += int(fields[11]) + int(fields[13])
            system += int(fields[12]) + int(fields[14])
        return user / TICKS, system / TICKS

    def memory(self):
        """Resident memory in bytes; a page that workers share counts once."""
        total = 0
        for pid in self.pids():
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        return total

    def peak(self):
        """The most resident memory in bytes that the process, or the largest of its workers, ever had."""
        return max(self.high_water(pid) for pid in self.pids())

    def high_water(self, pid):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        sys.exit(f"{self.name}: /proc/{pid}/status has no peak memory")

    def ask(self, path, headers=None):
        """Status, headers and body, as one client sees them."""
        if self.scheme == "https":
            anyone = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=anyone, timeout=20)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def get(self, key):
        """Status and length of the body."""
        status, _, body = self.ask(self.base + key)
        return status, len(body)


def nginx(stack, folder, name, workers, base, http, cpus=None, nopush="on", **values):
    """An nginx of its own, under a port of its own."""
    port = free_port()
    (folder / "tmp").mkdir(exist_ok=True)
    configuration = folder / f"{name}.conf"
    configuration.write_text(
        NGINX.format(
            # A master that runs as root would hand the run's folder to another user's workers.
            user="user root;" if os.geteuid() == 0 else "",
            workers=workers,
            folder=folder,
            name=name,
            nopush=nopush,
            http=http.format(folder=folder, name=name, port=port, **values),
        )
    )
    output = stack.enter_context((folder / f"{name}.output").open("ab"))
    errors = folder / f"{name}.errors"
    command = ["nginx", "-p", folder, "-e", errors, "-c", configuration]
    return Server(stack, name, port, base, command, output, cpus=cpus)


# A store that speaks TLS, and a proxy that trusts its certificate alone, as the gateway does.
STORE_TLS = """ ssl;
    ssl_certificate {folder}/store.crt; ssl_certificate_key {folder}/store.key;
    ssl_protocols TLSv1.3"""
TRUST = """proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on; proxy_ssl_session_reuse on;
      proxy_ssl_trusted_certificate {folder}/store.crt; proxy_ssl_name 127.0.0.1;"""


def certificate(folder, name):
    """A certificate for 127.0.0.1 that nobody signed, and its key."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"],
        check=True, capture_output=True,
    )


def store(stack, folder, sizes, tls=False):
    """The store: files of these sizes (bytes, by key), without a byte of them on the disk."""
    bucket = folder / "store" / "bucket"
    bucket.mkdir(parents=True)
    for key, size in sizes.items():
        with (bucket / key).open("wb") as file:
            file.truncate(size)
    (folder / "store" / "404.xml").write_text(NO_SUCH_KEY)
    if tls:
        certificate(folder, "store")
    speaks = STORE_TLS.format(folder=folder) if tls else ""
    server = nginx(stack, folder, "store", 1, DIRECT, STORE, tls=speaks)
    server.scheme = "https" if tls else "http"
    return server


def reverse_proxy(stack, folder, upstream, threads, access_log):
    """nginx as a reverse proxy: it neither signs nor checks anything."""
    log = json_log(folder, "nginx") if access_log else "off"
    trust = TRUST.format(folder=folder) if upstream.scheme == "https" else ""
    return nginx(
        stack, folder, "nginx", threads, PROXIED, PROXY, log=log, store=upstream.port, proxied=PROXIED,
        scheme=upstream.scheme, trust=trust,
    )


def gateway(
    stack, folder, binary, upstream, threads, access_log, name="s3proxy", cache=None, cpus=None
):
    """The gateway, which signs every request although this store does not look at signatures. Its
    cache is off unless it is given as variables."""
    port = free_port()
    configuration = folder / f"{name}.yaml"
    configuration.write_text(f"server:\n  threads: {threads}\n")
    endpoint = f"127.0.0.1:{upstream.port}"
    output = stack.enter_context((folder / f"{name}.log").open("ab"))
    environment = {
        **(cache or {"S3PROXY_CACHE_MEMORY": "0"}),
        "S3PROXY_CONFIG": str(configuration),
        "S3PROXY_LISTEN": f"127.0.0.1:{port}",
        "S3PROXY_ADMIN_LISTEN": "off",
        "S3PROXY_PROFILE": "production",
        "S3PROXY_LOG_LEVEL": "INFO" if access_log else "ERROR",
        "S3_ENDPOINT_URL": f"{upstream.scheme}://{endpoint}",
        "AWS_ACCESS_KEY_ID": "benchaccesskey",
        "AWS_SECRET_ACCESS_KEY": "benchsecretkey",
        "LSST_RESOURCES_S3_PROFILE_bench": f"{upstream.scheme}://benchaccesskey:benchsecretkey@{endpoint}",
    }
    if upstream.scheme == "https":
        environment["S3PROXY_UPSTREAM_CA_FILE"] = str(folder / "store.crt")
    return Server(stack, name, port, PROXIED, [binary], output, environment, cpus)


def bare(stack, folder, binary, upstream, threads):
    """A Pingora proxy that only passes requests on, without a log."""
    port = free_port()
    output = stack.enter_context((folder / "pingora.log").open("ab"))
    command = [binary, f"127.0.0.1:{port}", f"127.0.0.1:{upstream.port}", threads]
    command += ["tls"] if upstream.scheme == "https" else []
    return Server(stack, "pingora", port, PROXIED, command, output)
