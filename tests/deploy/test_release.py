"""The workflow of a release calls scripts that are there, and what the scripts write has the form it should."""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


class Workflow(unittest.TestCase):
    def setUp(self):
        self.jobs = yaml.safe_load((ROOT / ".github/workflows/release.yaml").read_text())["jobs"]
        steps = [step for job in self.jobs.values() for step in job["steps"]]
        self.commands = [step["run"] for step in steps if "run" in step]
        self.actions = [step["uses"] for step in steps if "uses" in step]

    def test_every_command_is_a_script_of_the_repository_or_publishes(self):
        called = [re.search(r"(?:^|\s|\()((?:\.ci|tests)/[\w/]+)", command) for command in self.commands]
        others = [command for command, found in zip(self.commands, called) if not found]
        self.assertEqual(others, ["cd files && sha256sum --check SHA256SUMS-x86_64 SHA256SUMS-aarch64"])
        scripts = {found[1] for found in called if found}
        self.assertEqual(scripts, {".ci/run", ".ci/release", "tests/deploy/package", ".ci/image", ".ci/notes"})
        for script in scripts | {".ci/provenance", ".ci/sbom"}:
            mode = (ROOT / script).stat().st_mode
            self.assertTrue(mode & 0o111, f"{script} is not executable")

    def test_an_action_is_a_commit_and_no_command_has_an_expression(self):
        for action in self.actions:
            self.assertRegex(action, r"@[0-9a-f]{40}$")
        for command in self.commands:
            self.assertNotIn("${{", command)

    def test_the_files_of_two_architectures_have_two_names(self):
        script = (ROOT / ".ci/release").read_text()
        names = re.findall(r'(?:\$files/| ")(s3proxy[-_][^"\s]+)"', script)
        self.assertGreaterEqual(len(names), 6)
        for name in names:
            self.assertRegex(name, r"\$(arch|debian)\b")

    def test_a_job_has_no_more_rights_than_it_uses(self):
        for name, job in self.jobs.items():
            rights = job.get("permissions", {})
            writes = {right for right, level in rights.items() if level == "write"}
            signs = {"id-token", "attestations"}
            allowed = {"files": signs, "image": {"packages"} | signs, "publish": {"contents", "packages"} | signs}
            self.assertEqual(writes, allowed.get(name, set()), name)

    def test_what_users_fetch_is_signed(self):
        for name in ("files", "image", "publish"):
            signed = [step["with"] for step in self.jobs[name]["steps"] if "attest-" in step.get("uses", "")]
            self.assertEqual(len(signed), 1, name)
            if name != "files":
                self.assertEqual(signed[0]["subject-digest"], "${{ steps.image.outputs.digest }}")
                (pushes,) = [step["run"] for step in self.jobs[name]["steps"] if step.get("id") == "image"]
                self.assertTrue(pushes.startswith(".ci/image --"), pushes)

    def test_a_linter_of_workflows_finds_nothing(self):
        linter = pathlib.Path(sys.executable).with_name("zizmor")
        linted = run(linter, "--offline", "--no-progress", "--persona", "auditor", "--min-severity", "low", ".github")
        self.assertEqual(linted.returncode, 0, linted.stdout + linted.stderr)
        self.assertIn("No findings", linted.stdout)


class Packages(unittest.TestCase):
    """The step that packs, with a program of a few bytes in the place of the real one."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        # In the place of what runs programs of another architecture.
        for arch in ("x86_64", "aarch64"):
            self.script(self.folder / f"bin/qemu-{arch}-static", '#!/bin/sh\nexec "$@"\n')
            self.script(self.folder / f"target/release-files/{arch}/s3proxy", f'#!/bin/sh\necho "{arch} $*"\n')

    def script(self, file, text):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def package(self, arch, debian):
        environment = os.environ | {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "CARGO_TARGET_DIR": str(self.folder / "target"),
        }
        ran = subprocess.run([".ci/release", "--arch", arch, "archive", "package"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return self.folder / f"target/release-files/s3proxy_{VERSION}_{debian}.deb"

    def test_a_package_has_the_program_of_its_architecture(self):
        for arch, debian in (("x86_64", "amd64"), ("aarch64", "arm64")):
            package = self.package(arch, debian)
            self.assertEqual(run("dpkg-deb", "--field", package, "Architecture").stdout, f"{debian}\n")
            tree = self.folder / debian
            self.assertEqual(run("dpkg-deb", "--extract", package, tree).returncode, 0)
            self.assertIn(arch, (tree / "usr/bin/s3proxy").read_text())
            completions = (tree / "usr/share/bash-completion/completions/s3proxy").read_text()
            self.assertEqual(completions, f"{arch} completions bash\n")

    def test_the_same_commit_gives_the_same_bytes(self):
        made = self.package("x86_64", "amd64").parent
        files = [file for file in made.iterdir() if file.is_file()]
        self.assertEqual(len(files), 2)
        before = {file: file.read_bytes() for file in files}
        for file in files:
            file.unlink()
        # Files are made at another time, with another mask of modes.
        self.addCleanup(os.umask, os.umask(0o077))
        self.package("x86_64", "amd64")
        self.assertEqual({file: file.read_bytes() for file in files}, before)


class Scripts(unittest.TestCase):
    def test_the_notes_are_the_section_of_the_version(self):
        notes = run(".ci/notes", f"v{VERSION}")
        self.assertEqual(notes.returncode, 0, notes.stderr)
        self.assertNotRegex(notes.stdout, r"(?m)^## ")
        self.assertGreater(len(notes.stdout), 100)
        links = re.findall(r"\]\(([^)]*)\)", notes.stdout)
        self.assertTrue(links)
        self.assertEqual([link for link in links if not link.startswith("https://")], [])
        # A tag that is not that of the version ends a release before anything is built.
        self.assertEqual(run(".ci/notes", "v0.0.1").returncode, 1)

    def test_the_image_has_the_version_of_its_tag(self):
        self.assertEqual(run(".ci/image", "--push", "example.org/s3proxy", "v0.0.1").returncode, 1)

    def test_the_digest_of_what_was_pushed_is_what_is_signed(self):
        digest = f"sha256:{'a' * 64}"
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            # Docker says other digests before the one of the whole.
            docker = f"""#!/bin/sh
echo "$@" "$BUILDX_NO_DEFAULT_ATTESTATIONS" >>{folder}/calls
case "$*" in *push*) echo sha256:{'0' * 64}; echo {digest} size: 1 ;; esac
"""
            (folder / "docker").write_text(docker)
            (folder / "docker").chmod(0o755)
            environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "GITHUB_OUTPUT": str(folder / "output")}
            for action in ("--push", "--manifest"):
                command = [".ci/image", action, "example.org/s3proxy", f"v{VERSION}"]
                ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
                self.assertEqual(ran.returncode, 0, ran.stderr)
            self.assertEqual((folder / "output").read_text(), f"digest={digest}\n" * 2)
            calls = (folder / "calls").read_text().splitlines()
        self.assertTrue(calls[0].startswith("build --tag example.org/s3proxy:"), calls)
        self.assertTrue(calls[0].endswith(" . 1"), "docker may make a list of an image, which the manifest refuses")

    def test_what_is_not_understood_is_refused(self):
        for script in (".ci/release", ".ci/image", "tests/deploy/package", "tests/deploy/service", "tests/deploy/certbot"):
            self.assertEqual(run(script, "--no-such-option").returncode, 2, script)
        self.assertEqual(run(".ci/release", "--arch", "riscv64").returncode, 1)

    def test_the_provenance_names_each_file_by_its_digest(self):
        with tempfile.NamedTemporaryFile(suffix=".deb") as file:
            file.write(b"a package")
            file.flush()
            made = run(".ci/provenance", "--profile", "dist", "--target", "x86_64-unknown-linux-musl", file.name)
            self.assertEqual(made.returncode, 0, made.stderr)
            statement = json.loads(made.stdout)
            name = pathlib.Path(file.name).name
        self.assertEqual(statement["_type"], "https://in-toto.io/Statement/v1")
        self.assertEqual(statement["predicateType"], "https://slsa.dev/provenance/v1")
        digest = {"sha256": hashlib.sha256(b"a package").hexdigest()}
        self.assertEqual(statement["subject"], [{"name": name, "digest": digest}])
        definition = statement["predicate"]["buildDefinition"]
        self.assertEqual(definition["externalParameters"]["profile"], "dist")
        commit = run("git", "rev-parse", "HEAD").stdout.strip()
        self.assertEqual(definition["resolvedDependencies"][0]["digest"], {"gitCommit": commit})

    def test_the_packages_scripts_are_shell(self):
        for script in ("postinst", "prerm", "postrm"):
            self.assertEqual(run("sh", "-n", f"deploy/debian/{script}").returncode, 0, script)
        control = (ROOT / "deploy/debian/control").read_text()
        for field in ("Package", "Version", "Architecture", "Maintainer", "Description"):
            self.assertRegex(control, rf"(?m)^{field}: ")


if __name__ == "__main__":
    unittest.main()
