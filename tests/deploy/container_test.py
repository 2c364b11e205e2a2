"""The image as `docker run` of docs/install.md runs it: a container on a read-only root, without capabilities, with a
file of settings and one of access keys, in front of a store that verifies signatures. tests/deploy/image starts it."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import unittest

from served import PATIENCE, TILE, ask, await_gateway, end, free_port, store

DOCKER = os.environ["S3PROXY_TEST_DOCKER"]
IMAGE = os.environ["S3PROXY_TEST_IMAGE"]
GRACE = 30  # seconds between SIGTERM and SIGKILL
PATH = "/s3proxy/s3/hips@sky/Norder3/Npix1.png"
NAME = f"s3proxy-test-{os.getpid()}"
# Of the host's network: no bridge and no packet filter are needed. The rest is as in deploy/compose/compose.yaml.
RIGHTS = ["--network=host", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]


def docker(*arguments):
    return subprocess.run([DOCKER, *arguments], capture_output=True, text=True, timeout=PATIENCE)


def inspect(template):
    return docker("inspect", "--format", template, NAME).stdout.strip()


class Container(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.folder.chmod(0o755)
        port, access_key, secret_key = store(cls, cls.folder)
        cls.port = free_port()
        settings = {"listen": f"127.0.0.1:{cls.port}", "admin": {"listen": "off"}}
        settings |= {"credentials_file": "/etc/s3proxy/aws-credentials.ini"}
        settings |= {"profiles": {"hips": {"endpoint": f"http://127.0.0.1:{port}", "buckets": ["sky"]}}}
        keys = f"[hips]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
        files = {"s3proxy.yaml": json.dumps(settings), "aws-credentials.ini": keys}
        cls.volumes = []
        for name, text in files.items():
            (cls.folder / name).write_text(text)
            cls.volumes.append(f"--volume={cls.folder / name}:/etc/s3proxy/{name}:ro")
        # Only the user of the image reads the keys.
        os.chown(cls.folder / "aws-credentials.ini", 1000, 1000)
        (cls.folder / "aws-credentials.ini").chmod(0o400)
        cls.addClassCleanup(docker, "rm", "--force", NAME)
        arguments = ["--name", NAME, *RIGHTS, *cls.volumes, IMAGE, "serve", "--config", "/etc/s3proxy/s3proxy.yaml"]
        cls.log = cls.enterClassContext((cls.folder / "log").open("w+"))
        output = {"stdout": cls.log, "stderr": subprocess.STDOUT}
        cls.container = subprocess.Popen([DOCKER, "run", *arguments], **output)
        cls.addClassCleanup(end, cls.container)
        await_gateway(cls.container, cls.port, cls.printed)

    @classmethod
    def printed(cls):
        return (cls.folder / "log").read_text()

    @classmethod
    def answer(cls, method, path, **fields):
        return ask(cls.port, method, path, **fields)

    def test_1_an_object_is_served_and_cached(self):
        for expected in ("miss", "hit"):
            answer = self.answer("GET", PATH)
            self.assertEqual((answer.status, answer.headers["content-type"]), (200, "image/png"))
            self.assertTrue(answer.body == TILE)
            self.assertRegex(answer.headers["cache-status"], rf"[ =]{expected}\b")

    def test_2_its_head_and_a_part(self):
        head = self.answer("HEAD", PATH)
        self.assertEqual((head.status, head.headers["content-length"], head.body), (200, str(len(TILE)), b""))
        part = self.answer("GET", PATH, Range="bytes=1000-1999")
        self.assertEqual((part.status, part.headers["content-range"]), (206, f"bytes 1000-1999/{len(TILE)}"))
        self.assertTrue(part.body == TILE[1000:2000])

    def test_3_it_has_no_rights(self):
        process = pathlib.Path("/proc", inspect("{{.State.Pid}}"))
        fields = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
        self.assertEqual((fields["Uid"].split(), fields["Gid"].split()), (["1000"] * 4, ["1000"] * 4))
        for rights in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(fields[rights], 16), 0, rights)
        self.assertEqual((fields["NoNewPrivs"], fields["Seccomp"]), ("1", "2"))
        self.assertEqual((process / "cmdline").read_bytes().split(b"\0")[:2], [b"/usr/local/bin/s3proxy", b"serve"])

    def test_4_its_root_cannot_be_written(self):
        mounts = pathlib.Path("/proc", inspect("{{.State.Pid}}"), "mountinfo").read_text()
        options = {words[4]: words[5].split(",") for words in map(str.split, mounts.splitlines())}
        for place in ("/", "/etc/s3proxy/s3proxy.yaml", "/etc/s3proxy/aws-credentials.ini"):
            self.assertIn("ro", options[place], place)

    def test_5_a_command_runs_beside_it_without_a_shell(self):
        command = ["s3proxy", "check", "--config", "/etc/s3proxy/s3proxy.yaml", "hips@sky/Norder3/Npix1.png"]
        checked = docker("exec", NAME, *command)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        self.assertNotEqual(docker("exec", NAME, "/bin/sh", "-c", "true").returncode, 0)

    def test_6_a_mistake_ends_with_2(self):
        refused = docker("run", "--rm", *RIGHTS, IMAGE, "serve", "--listen", "nowhere")
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("nowhere", refused.stderr)

    def test_7_the_image_says_what_it_is(self):
        labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", IMAGE).stdout)
        version = docker("run", "--rm", *RIGHTS, IMAGE, "--version").stdout.split()
        prefix = "org.opencontainers.image."
        self.assertEqual(labels[f"{prefix}version"], version[1])
        self.assertRegex(labels[f"{prefix}revision"], r"^[0-9a-f]{40}$")
        self.assertEqual(labels[f"{prefix}licenses"], "MIT")
        self.assertRegex(labels[f"{prefix}source"], "^https://")

    def test_8_it_ends_with_0_within_the_time_of_stop(self):
        started = time.monotonic()
        stopped = docker("stop", "--time", str(GRACE), NAME)
        self.assertEqual(stopped.returncode, 0, stopped.stderr)
        self.assertEqual(self.container.wait(PATIENCE), 0, self.printed())
        self.assertLess(time.monotonic() - started, GRACE)
        self.assertEqual(inspect("{{.State.ExitCode}}"), "0")
        unexpected = re.findall(r'^.*(?:panicked|"severity":"warning").*$', self.printed(), re.M)
        self.assertEqual(unexpected, [])


if __name__ == "__main__":
    unittest.main()
