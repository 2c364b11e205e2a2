"""The caches that are compared, each a process of its own on loopback before the same store: nginx
with `proxy_cache`, Varnish, the gateway, and nginx with the files themselves as the bound. Each has
one worker, the same memory for bodies (nginx: the same room in the page cache) and the same CPU."""

import json
import os
import pathlib
import resource
import shutil
import tempfile

import stage
from stage import PROXIED, Server, free_port

MIB = 2**20

# Both nginxes: descriptors of files are kept, as its documentation advises for busy files. Without
# `tcp_nopush`, which they also advise: the loopback takes segments of 64 KiB, and answers that end with
# part of one were held back for 40 ms.
FILES = """
  open_file_cache max=5000 inactive=10m; open_file_cache_valid 1m;
"""

STATIC = stage.LOG_FORMAT + FILES + """
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {folder}/static;
    open_file_cache_errors on;
    types {{ image/webp webp; application/xml xml; }}
    error_page 404 /404.xml;
  }}
"""

# Concurrent misses wait for the first, stale entries are asked for with If-None-Match. `kept` is WHOLE
# or SLICES.
CACHE = stage.LOG_FORMAT + FILES + """
  proxy_cache_path {files} levels=1:2 keys_zone=cache:64m max_size={mib}m
    inactive=1d use_temp_path=off;
  upstream store {{
    server 127.0.0.1:{store};
    keepalive 128; keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    {also}
    location {proxied} {{
      proxy_pass http://store/bucket/;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffer_size 16k; proxy_busy_buffers_size 64k;
      proxy_cache cache;
      {kept}
      proxy_cache_valid 404 10m;
      proxy_cache_revalidate on;
      proxy_cache_lock on; proxy_cache_lock_timeout 30s; proxy_cache_lock_age 30s;
    }}
  }}
"""

WHOLE = "proxy_buffers 16 32k; proxy_cache_valid 200 1h;"
# As its documentation has it, in pieces as large as the gateway's blocks. Fewer buffers: nginx keeps those
# of every slice until the answer ends, half a GiB for each GiB when there are 16, and these are as fast.
# With `aio threads`, which it needs for disks, a hit took more CPU.
SLICES = """
      proxy_buffers 4 32k;
      slice 1m;
      proxy_cache_key $uri$slice_range;
      proxy_set_header Range $slice_range;
      proxy_cache_valid 200 206 1h;
"""

# Nothing stale is served: the others do not either. Entries are kept beyond their time for a 304.
VCL = """
vcl 4.1;
backend store {{ .host = "127.0.0.1"; .port = "{store}"; }}
sub vcl_recv {{ set req.url = regsub(req.url, "^{proxied}", "/bucket/"); }}
sub vcl_backend_response {{
  if (beresp.status == 404) {{ set beresp.ttl = 10m; }}
  set beresp.grace = 0s;
  set beresp.keep = 1h;
}}
"""

VARNISH_LOG = (
    '{"time":"%t","remote":"%h","method":"%m","path":"%U","status":%s,"bytes_sent":%b,'
    '"request_time":%D,"cache":"%{Varnish:hitmiss}x","user_agent":"%{User-agent}i",'
    '"request_id":"%{X-Varnish}o"}'
)


def room(stack, folder, most_mib):
    """Where nginx keeps its files: in memory, as the others do, where there is enough of it."""
    shared = pathlib.Path("/dev/shm")
    if shared.is_dir() and shutil.disk_usage(shared).free > most_mib * MIB:
        name = tempfile.TemporaryDirectory(prefix="s3proxy-load.", dir=shared)
        return pathlib.Path(stack.enter_context(name))
    return folder


class Place:
    """The CPUs of a peer, of the clients, and of the store."""

    def __init__(self):
        cpus = sorted(os.sched_getaffinity(0))
        self.peers = {cpus[0]}
        self.clients = {cpus[min(1, len(cpus) - 1)]}
        self.store = {cpus[min(2, len(cpus) - 1)]}
        # The run itself and its child processes use the CPU of the clients, unless a server is given another.
        os.sched_setaffinity(0, self.clients)
        # Crowds need many connections.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def __str__(self):
        return f"peer on {self.peers}, clients on {self.clients}, store on {self.store}"


class Varnish(Server):
    """varnishd, and the program that writes its log, if any."""

    logger = None

    def pids(self):
        return super().pids() + (self.logger.pids() if self.logger else [])


class Logger(Server):
    """varnishncsa, which is ready when it runs."""

    def wait(self, output):
        pass


def varnish(stack, folder, store, mib, cpus, access_log=True):
    port = free_port()
    vcl = folder / "varnish.vcl"
    vcl.write_text(VCL.format(store=store.port, proxied=PROXIED))
    where = folder / "varnish"
    command = ["varnishd", "-F", "-j", "none", "-n", where, "-f", vcl, "-a", f"127.0.0.1:{port}"]
    command += ["-s", f"malloc,{mib}m", "-p", "thread_pools=1", "-p", "default_ttl=3600"]
    # A large object may need the room of many small ones; with the default of 50 its answer is cut.
    command += ["-p", "nuke_limit=1000000", "-p", "listen_depth=4096"]
    # As long as nginx keeps an idle connection.
    command += ["-p", "timeout_idle=75", "-T", "none"]
    output = stack.enter_context((folder / "varnish.output").open("ab"))
    server = Varnish(stack, "varnish", port, PROXIED, command, output, cpus=cpus)
    if access_log:
        command = ["varnishncsa", "-n", where, "-a", "-w", folder / "varnish.log"]
        server.logger = Logger(
            stack, "varnishncsa", port, "", [*command, "-F", VARNISH_LOG], output, cpus=cpus
        )
    return server


def nginx_cache(
    stack, folder, store, mib, cpus, access_log=True, nopush="off", kept=WHOLE, most_mib=None,
    also="",
):
    """nginx asks the store unsigned: that work is the gateway's alone. Its manager looks at the limit
    every 10 s, so that it keeps more for a while: at most `most_mib`. `also` are further directives of
    its server."""
    name = "nginx" if access_log else "nginx-no-log"
    log = stage.json_log(folder, name) if access_log else "off"
    files = room(stack, folder, most_mib or 4 * mib + 2048) / f"{name}-cache"
    server = stage.nginx(
        stack, folder, name, 1, PROXIED, CACHE, cpus, nopush,
        log=log, mib=mib, files=files, store=store.port, proxied=PROXIED, kept=kept,
        also=also,
    )
    server.files = files
    return server


def nginx_static(stack, folder, keys, cpus, nopush="off"):
    """nginx with these objects (bytes, by key) as files: no cache can do less."""
    for key, size in keys.items():
        path = folder / "static" / "bucket" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    (folder / "static" / "404.xml").write_text(stage.NO_SUCH_KEY)
    log = stage.json_log(folder, "static")
    return stage.nginx(stack, folder, "static", 1, stage.DIRECT, STATIC, cpus, nopush, log=log)


def gateway(stack, folder, binary, store, mib, cpus, access_log=True, settings=None):
    """`settings` are variables of its cache besides those that all runs have."""
    cache = {
        "S3PROXY_CACHE_MEMORY": f"{mib}MiB",
        "S3PROXY_CACHE_TTL": "1h",
        "S3PROXY_CACHE_NEGATIVE_TTL": "10m",
        "S3PROXY_CACHE_STALE_WHILE_REVALIDATE": "0",
        **(settings or {}),
    }
    name = "s3proxy" if access_log else "s3proxy-no-log"
    return stage.gateway(stack, folder, binary, store, 1, access_log, name, cache, cpus)


class Store(Server):
    """The store, which counts its requests."""

    def __init__(self, stack, folder, binary, cpus, latency=0, jitter=0):
        port = free_port()
        output = stack.enter_context((folder / f"store-{port}.output").open("ab"))
        command = [binary, f"127.0.0.1:{port}", latency, jitter]
        super().__init__(stack, "store", port, stage.DIRECT, command, output, cpus=cpus)

    def counts(self):
        """Requests seen and bytes of bodies sent so far."""
        counts = json.loads(self.ask("/-/counts")[2])
        return counts["requests"], counts["bytes"]
