"""The image that the Dockerfile's steps have made, run like a pod of the chart: user 1000, no rights, a read-only
root, and the chart's configuration and Secret mounted. tests/deploy/image starts it, as root and in a mount
namespace of its own."""

import ctypes
import errno
import http.server
import json
import os
import pathlib
import shutil
import signal
import ssl
import stat
import subprocess
import tempfile
import threading
import unittest

from chart import release
from served import PATIENCE, TILE, ask, await_gateway, end, free_port, store

IMAGE = pathlib.Path(os.environ["S3PROXY_TEST_IMAGE_ROOT"])
CONFIG = json.loads(pathlib.Path(os.environ["S3PROXY_TEST_IMAGE_CONFIG"]).read_text())["OCIv1"]["config"]
USER = 1000
MAX_BYTES = 24 * 1024 * 1024
PR_SET_NO_NEW_PRIVS = 38
LIBC = ctypes.CDLL(None)


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


class Secure(http.server.BaseHTTPRequestHandler):
    """A store that answers every request with the tile."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(TILE)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(TILE)

    def log_message(self, *arguments):
        pass


def secure_store(folder):
    """A server of Secure with TLS for store.example, and its certificate."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=store.example"
    extensions = "-addext subjectAltName=DNS:store.example -addext basicConstraints=critical,CA:FALSE"
    files = ["-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *extensions.split(), *files], check=True, capture_output=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Secure)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, certificate.read_text()


def volume(folder, files, mode):
    """A folder as kubelet makes it of a ConfigMap or a Secret: each file a link to a link."""
    data = folder / "..2026_01_01_00_00_00.000000000"
    data.mkdir(parents=True)
    for name, text in files.items():
        (data / name).write_text(text)
        os.chown(data / name, 0, USER)
        (data / name).chmod(mode)
        (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data").symlink_to(data.name)


class Pod:
    """The image's tree as a container runtime puts it together, and processes in it."""

    def __init__(self, folder, found, configuration, credentials, certificate):
        self.root = folder / "root"
        self.environment = dict(entry.split("=", 1) for entry in CONFIG["Env"])
        self.environment |= {entry["name"]: entry["value"] for entry in found.container["env"]}
        shutil.copytree(IMAGE, self.root, symlinks=True)
        # One authority more, where the others are.
        with (self.root / "etc/ssl/certs/ca-certificates.crt").open("a") as bundle:
            bundle.write(certificate)
        # The files that a runtime adds to every container.
        for name in ("proc", "dev"):
            (self.root / name).mkdir(exist_ok=True)
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost store.example\n")
        (self.root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
        volumes = {
            "configMap": ({"s3proxy.yaml": configuration}, 0o644),
            "secret": ({"aws-credentials.ini": credentials}, 0o440),
        }
        mounts = {}
        for path, source in found.mounts().items():
            kind = next(key for key in source if key != "name")
            volume(folder / kind, *volumes[kind])
            (self.root / path[1:]).mkdir(parents=True)
            mounts[self.root / path[1:]] = folder / kind
        mount("--bind", self.root, self.root)
        mount("-o", "remount,bind,ro,nosuid", self.root)
        mount("-t", "proc", "proc", self.root / "proc")
        mount("-t", "tmpfs", "-o", "ro", "tmpfs", self.root / "dev")
        for place, source in mounts.items():
            mount("--bind", source, place)
            mount("-o", "remount,bind,ro", place)

    def enter(self):
        """In the child: drops every right that Kubernetes drops."""
        os.chroot(self.root)
        os.chdir("/")
        os.setgroups([USER])
        os.setgid(USER)
        os.setuid(USER)
        if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError("no_new_privs")

    def start(self, *arguments, **options):
        command = [*CONFIG["Entrypoint"], *arguments]
        return subprocess.Popen(command, env=self.environment, preexec_fn=self.enter, text=True, **options)


class Image(unittest.TestCase):
    def test_it_starts_the_binary_as_a_user_without_rights(self):
        self.assertEqual(CONFIG["User"], "1000:1000")
        self.assertEqual(CONFIG["Entrypoint"], ["/usr/local/bin/s3proxy"])
        self.assertEqual(CONFIG.get("Cmd"), None)
        self.assertEqual({port.partition("/")[0] for port in CONFIG["ExposedPorts"]}, {"8080", "9090"})

    def test_it_holds_what_it_needs_and_no_more(self):
        size, files = 0, []
        for path in IMAGE.rglob("*"):
            about = path.lstat()
            files.append(path)
            self.assertEqual((about.st_uid, about.st_gid), (0, 0), path)
            if not path.is_symlink():
                self.assertFalse(about.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH), path)
            if stat.S_ISREG(about.st_mode):
                size += about.st_size
        print(f"the image: {size / 2**20:.1f} MiB in {sum(path.is_file() for path in files)} files")
        self.assertLess(size, MAX_BYTES)
        programs = [path.name for path in files if path.is_file() and "bin" in path.parts]
        self.assertEqual(programs, ["s3proxy"])

    def test_certificates_are_inside(self):
        text = (IMAGE / "etc/ssl/certs/ca-certificates.crt").read_text()
        self.assertGreater(text.count("-----BEGIN CERTIFICATE-----"), 100)

    def test_scanners_find_its_packages(self):
        for name in ("ca-certificates", "libc6", "libgcc-s1"):
            text = (IMAGE / "var/lib/dpkg/status.d" / name).read_text()
            self.assertRegex(text, rf"(?m)\APackage: {name}$[\s\S]*^Version: [0-9]")
        self.assertIn("VERSION_CODENAME=", (IMAGE / "etc/os-release").read_text())


class Running(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.folder.chmod(0o755)
        port, access_key, secret_key = store(cls, cls.folder)
        # A name, not an address: looking it up must work without the C library's plug-ins.
        secure, certificate = secure_store(cls.folder)
        cls.addClassCleanup(secure.server_close)
        cls.addClassCleanup(secure.shutdown)
        url = f"http://store.example:{port}"
        secure_url = f"https://store.example:{secure.server_port}"
        profiles = [{"name": "hips", "url": url}, {"name": "embargo", "url": secure_url}]
        stores = {"profiles": profiles, "s3EndpointUrl": url}
        found = release("usdfprod", {"config": stores})
        cls.ports = {"http": free_port(), "admin": free_port()}
        cls.grace = found.pod["spec"]["terminationGracePeriodSeconds"]
        configuration = found.configuration
        configuration = configuration.replace(found.settings["listen"], f"127.0.0.1:{cls.ports['http']}")
        configuration = configuration.replace(found.settings["admin"]["listen"], f"127.0.0.1:{cls.ports['admin']}")
        keys = f"aws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
        cls.pod = Pod(cls.folder, found, configuration, f"[hips]\n{keys}[embargo]\n{keys}", certificate)
        cls.addClassCleanup(subprocess.run, ["umount", "--recursive", "--lazy", cls.pod.root], check=True)
        cls.gateway = cls.pod.start(stdout=subprocess.DEVNULL)
        cls.addClassCleanup(end, cls.gateway)
        await_gateway(cls.gateway, cls.ports["http"], lambda: "its output was not kept")

    @classmethod
    def get(cls, path):
        return ask(cls.ports["http"], "GET", path)

    def test_1_a_tile_is_served(self):
        answer = self.get("/s3proxy/s3/hips@sky/Norder3/Npix1.png")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "image/png"))
        self.assertTrue(answer.body == TILE)

    def test_2_the_certificates_are_used(self):
        """Without them no request reaches the store: the gateway answers 502."""
        answer = self.get("/s3proxy/s3/embargo@sky/Norder3/Npix1.png")
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.body == TILE)

    def test_3_it_is_user_1000_without_rights(self):
        status = pathlib.Path(f"/proc/{self.gateway.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines())
        self.assertEqual(fields["Uid"].split(), ["1000"] * 4)
        self.assertEqual(fields["Gid"].split(), ["1000"] * 4)
        self.assertEqual(int(fields["CapEff"], 16) | int(fields["CapPrm"], 16), 0)
        self.assertEqual(fields["NoNewPrivs"], "1")

    def test_4_nothing_there_can_be_written(self):
        for place in ("", "etc/s3proxy/config", "etc/s3proxy/credentials", "dev"):
            self.assertTrue(os.statvfs(self.pod.root / place).f_flag & os.ST_RDONLY, place)
        for path in ("/x", "/etc/x", "/usr/local/bin/s3proxy", "/etc/s3proxy/config/x", "/dev/x"):
            with self.subTest(path):
                child = os.fork()
                if not child:
                    try:
                        self.pod.enter()
                        os.open(path, os.O_WRONLY | os.O_CREAT)
                        os._exit(0)
                    except OSError as error:
                        os._exit(error.errno)
                _, status = os.waitpid(child, 0)
                self.assertIn(os.waitstatus_to_exitcode(status), (errno.EROFS, errno.EACCES))

    def test_5_check_works_without_a_shell(self):
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        checked = self.pod.start("check", "hips@sky/Norder3/Npix1.png", **output)
        printed, _ = checked.communicate(timeout=PATIENCE)
        self.assertEqual(checked.returncode, 0, printed)

    def test_6_it_ends_within_the_grace_period_of_the_pod(self):
        self.gateway.send_signal(signal.SIGTERM)
        self.assertEqual(self.gateway.wait(self.grace), 0)


if __name__ == "__main__":
    unittest.main()
