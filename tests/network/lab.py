"""A network of its own: a client, the gateway and three stores in network namespaces, on one bridge.

    client  10.77.0.5                 load.py
    gateway 10.77.0.10, 10.77.0.11    s3proxy and nginx; the second address is for `forget_connections`
    store   10.77.0.21 to 23          store.py, on port 9000; also fd77::21 to 23

The name `store.test` is resolved in the namespace of the gateway alone, by its own hosts file.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import time

HERE = pathlib.Path(__file__).parent
PREFIX = f"s3proxy-{os.getpid()}"
GATEWAY, OTHER_SOURCE = "10.77.0.10", "10.77.0.11"
GATEWAY6 = "fd77::10"
NAME = "store.test"
PORT = 9000
ENVIRONMENT = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": "network",
               "AWS_SECRET_ACCESS_KEY": "network"}
PATIENCE = 15  # seconds until a process must serve, or end
V4 = ["10.77.0.21", "10.77.0.22", "10.77.0.23"]
V6 = ["fd77::21", "fd77::22", "fd77::23"]


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Namespace:
    """A host on the bridge."""

    def __init__(self, role, addresses):
        self.name = f"{PREFIX}-{role}"
        self.role = role
        self.addresses = addresses

    def create(self, bridge):
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")
        if not bridge:
            ip("-n", self.name, "link", "add", "bridge", "type", "bridge")
            ip("-n", self.name, "link", "set", "bridge", "up")
            return
        port = f"to-{self.role}"
        ip("link", "add", "eth0", "netns", self.name, "type", "veth",
           "peer", "name", port, "netns", bridge.name)
        ip("-n", bridge.name, "link", "set", port, "master", "bridge", "up")
        for address in self.addresses:
            # Without `nodad` an address of IPv6 cannot be used for its first second.
            length, more = ("/64", ["nodad"]) if ":" in address else ("/24", [])
            ip("-n", self.name, "address", "add", address + length, "dev", "eth0", *more)
        ip("-n", self.name, "link", "set", "eth0", "up")

    def command(self, *words):
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    def delete(self):
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)


class Process:
    """A process in a namespace, ended by its own id."""

    def __init__(self, namespace, *words, **options):
        self.process = subprocess.Popen(namespace.command(*words), **options)

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(PATIENCE)


class Store(Process):
    """A store that obeys commands; see store.py."""

    def __init__(self, namespace):
        super().__init__(
            namespace, "python3", HERE / "store.py", PORT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self.namespace = namespace
        self.process.stdout.readline()

    def do(self, what, **options):
        self.process.stdin.write(json.dumps({"do": what, **options}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def mode(self, mode, **options):
        self.do("mode", mode=mode, **options)

    def silence(self, *sources):
        """Nothing that it sends reaches these addresses: the packets are lost without a word."""
        for source in sources:
            ip("-n", self.namespace.name, "route", "replace", "blackhole", source)

    def heal(self):
        self.mode("ok")
        self.do("listen", on=True)
        for source in (GATEWAY, OTHER_SOURCE, GATEWAY6):
            subprocess.run(["ip", "-n", self.namespace.name, "route", "del", "blackhole", source],
                           capture_output=True)
        self.do("counts")


class Lab:
    """The network. `binary` is the gateway, `folder` is for files of the run."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, pathlib.Path(folder)
        self.bridge = Namespace("bridge", [])
        self.client_host = Namespace("client", ["10.77.0.5"])
        self.gateway_host = Namespace("gateway", [GATEWAY, OTHER_SOURCE, GATEWAY6])
        self.store_hosts = [Namespace(f"store{nth}", pair) for nth, pair in enumerate(zip(V4, V6), 1)]
        self.hosts_folder = pathlib.Path("/etc/netns") / self.gateway_host.name
        self.stores = []
        self.ports = iter(range(8080, 9000))

    def __enter__(self):
        try:
            self.bridge.create(None)
            for host in (self.client_host, self.gateway_host, *self.store_hosts):
                host.create(self.bridge)
            self.hosts_folder.mkdir(parents=True)
            self.resolve(*V4)
            self.stores = [Store(host) for host in self.store_hosts]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for store in self.stores:
            store.end()
        for host in (self.client_host, self.gateway_host, *self.store_hosts, self.bridge):
            host.delete()
        shutil.rmtree(self.hosts_folder, ignore_errors=True)

    def resolve(self, *addresses):
        """What the name of the store resolves to from now on. The file stays the same: `ip netns exec`
        has mounted it."""
        lines = ["127.0.0.1 localhost", *(f"{address} {NAME}" for address in addresses)]
        (self.hosts_folder / "hosts").write_text("\n".join(lines) + "\n")

    def heal(self):
        """All as at the beginning."""
        self.resolve(*V4)
        self.source(GATEWAY)
        for store in self.stores:
            store.heal()

    def source(self, address):
        """The address from which the gateway connects to stores from now on."""
        ip("-n", self.gateway_host.name, "route", "replace", "10.77.0.0/24", "dev", "eth0",
           "src", address)

    def forget_connections(self):
        """All connections between gateway and stores die without a word; new ones come about."""
        self.source(OTHER_SOURCE)
        for store in self.stores:
            store.silence(GATEWAY)

    @contextlib.contextmanager
    def gateway(self, cached, settings=None, environment=None, cache=None):
        """The gateway on a port of its own; `cached` or not decides on the road to the store. `settings` are
        those of `upstream`, `cache` those of the cache."""
        port, admin = next(self.ports), next(self.ports)
        log = self.folder / f"gateway-{port}.log"
        configuration = self.configuration(port, admin, cached, settings, cache)
        with log.open("w") as out:
            gateway = Process(
                self.gateway_host, self.binary, "--config", configuration,
                env={**ENVIRONMENT, **(environment or {})}, stdout=out, stderr=out,
            )
        try:
            self.wait_until_serving(port, log)
            yield Server(port, "/s3proxy/s3/sky/", log, admin, self)
        finally:
            gateway.end()

    def check(self, settings=None):
        """What `s3proxy check` says of an object: the detail of each step, by its name."""
        configuration = self.configuration(next(self.ports), next(self.ports), False, settings)
        words = ("check", "--json", "--config", configuration, f"sky/tile-{next(Server.names)}-100.png")
        done = subprocess.run(self.gateway_host.command(self.binary, *words), env=ENVIRONMENT,
                              capture_output=True, text=True)
        steps = json.loads(done.stdout)["sections"][0]["steps"]
        return {step["name"]: step["detail"] for step in steps}

    def configuration(self, port, admin, cached, settings, cache=None):
        upstream = "".join(f"  {name}: {value}\n" for name, value in (settings or {}).items())
        cache = json.dumps({"memory": "256MiB" if cached else 0, **(cache or {})})
        configuration = self.folder / f"gateway-{port}.yaml"
        configuration.write_text(
            f"listen: 0.0.0.0:{port}\nadmin: {{ listen: 127.0.0.1:{admin} }}\n"
            f"log: {{ level: INFO }}\nserver: {{ lame_duck: 0s, grace_period: 1s }}\n"
            f"cache: {cache}\n"
            f"upstream:\n  client_share: 100\n{upstream}"
            f"default_profile: {{ endpoint: 'http://{NAME}:{PORT}' }}\n"
        )
        return configuration

    @contextlib.contextmanager
    def nginx(self, addresses=V4, timeouts=(2, 5), cache=""):
        """nginx in front of the same addresses, with the same timeouts in seconds: to connect, and for
        the first byte and each later one; with these directives of a cache, if any."""
        port = next(self.ports)
        connect, read = timeouts
        servers = "".join(
            f"    server {f'[{address}]' if ':' in address else address}:{PORT};\n"
            for address in addresses
        )
        log = self.folder / f"nginx-{port}.log"
        if cache:
            cache = f"proxy_cache kept; {cache}"
        configuration = self.folder / f"nginx-{port}.conf"
        configuration.write_text(
            f"daemon off; user root; worker_processes 1; pid {self.folder}/nginx-{port}.pid;\n"
            f"error_log {log} warn;\nevents {{ worker_connections 4096; }}\nhttp {{\n"
            f"  access_log off;\n"
            f"  proxy_cache_path {self.folder}/nginx-{port} keys_zone=kept:10m use_temp_path=off;\n"
            f"  upstream store {{\n{servers}    keepalive 512;\n  }}\n"
            f"  server {{ listen {port}; location / {{\n"
            f"    proxy_pass http://store; proxy_http_version 1.1;\n"
            f"    proxy_set_header Connection ''; proxy_buffering on;\n"
            f"    proxy_connect_timeout {connect}s; proxy_read_timeout {read}s;\n"
            f"    {cache}\n  }} }}\n}}\n"
        )
        nginx = Process(self.gateway_host, "nginx", "-c", configuration,
                        stderr=subprocess.DEVNULL)
        try:
            self.wait_until_serving(port, log)
            yield Server(port, "/sky/", log, None, self)
        finally:
            nginx.end()

    def wait_until_serving(self, port, log):
        """Until the port accepts connections; asks for no object."""
        probe = f"import socket; socket.create_connection(('{GATEWAY}', {port}), 1)"
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            tried = subprocess.run(self.client_host.command("python3", "-c", probe),
                                   capture_output=True)
            if not tried.returncode:
                return
        raise RuntimeError(f"port {port} does not serve: {log.read_text()[-2000:]}")

    def load(self, *jobs):
        """Sends requests; the answers of each job. See load.py."""
        done = subprocess.run(
            self.client_host.command("python3", HERE / "load.py"),
            input=json.dumps(jobs), capture_output=True, text=True, check=True,
        )
        return [[Answer(*answer) for answer in job] for job in json.loads(done.stdout)]


class Server:
    """A gateway, or nginx."""

    names = iter(range(10**9))

    def __init__(self, port, prefix, log, admin, lab):
        self.port, self.prefix, self.log_file, self.admin, self.lab = port, prefix, log, admin, lab

    def job(self, number, rate=0, size=100, paths=None, **options):
        """`number` requests for objects that were never asked for, or for these."""
        paths = paths or [f"tile-{next(self.names)}-{size}.png" for _ in range(number)]
        return {"host": GATEWAY, "port": self.port, "rate": rate,
                "prefix": self.prefix, "paths": paths, **options}

    def get(self, number, rate=0, **options):
        return self.lab.load(self.job(number, rate, **options))[0]

    def ask_admin(self, path):
        """A document of the admin listener."""
        script = ("import sys, urllib.request as u; "
                  f"print(u.urlopen('http://127.0.0.1:{self.admin}{path}').read().decode())")
        done = subprocess.run(self.lab.gateway_host.command("python3", "-c", script),
                              capture_output=True, text=True, check=True)
        return done.stdout

    def log(self):
        return self.log_file.read_text()


class Answer:
    def __init__(self, began, status, took, why):
        self.began, self.status, self.took, self.why = began, status, took, why

    @property
    def failed(self):
        return self.status not in (200, 206)

    def __repr__(self):
        return f"{self.began:.1f}s: {self.status} after {self.took:.2f}s {self.why}"
