"""The gateway's reading of configurations that the chart renders."""

import contextlib
import json
import os
import pathlib
import subprocess
import tempfile

import yaml

BINARY = os.environ["S3PROXY_TEST_BINARY"]
PATIENCE = 30  # seconds until it must have answered

SECTION = """
[{name}]
aws_access_key_id = CANARY-ID-{name}
aws_secret_access_key = canary-secret-{name}
"""


@contextlib.contextmanager
def files(configuration):
    """Puts the configuration, and keys for all its profiles, into a folder, and yields the path of the
    configuration, in which the pod's folders are those here."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        sections = ["default", *yaml.safe_load(configuration).get("profiles", {})]
        (folder / "aws-credentials.ini").write_text("".join(SECTION.format(name=section) for section in sections))
        (folder / "cache").mkdir()
        shared = folder / "shared"
        shared.mkdir()
        (shared / "password_file").write_text("canary-secret-password")
        (shared / "mac_key_file").write_text("canary-secret-of-32-characters-and-more")
        # It is read when a connection is made.
        (shared / "ca_file").write_text("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
        text = configuration.replace("/etc/s3proxy/credentials", name).replace("/etc/s3proxy/shared", str(shared))
        text = text.replace("/var/cache/s3proxy", f"{name}/cache")
        if "/etc/s3proxy/tls" in text:
            text = text.replace("/etc/s3proxy/tls", name)
            certificate(folder)
        path = folder / "s3proxy.yaml"
        path.write_text(text)
        yield path


def certificate(folder):
    """The files of the Secret for TLS."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=s3proxy.example"
    command += " -addext subjectAltName=DNS:s3proxy.example"
    command = [*command.split(), "-keyout", folder / "tls.key", "-out", folder / "tls.crt"]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
    (folder / "clients.crt").write_text((folder / "tls.crt").read_text())


def run(arguments, environment):
    return subprocess.run([BINARY, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE)


def report(arguments, environment):
    """The output of `s3proxy config`: every setting by its name, and the warnings."""
    answer = run(["config", "--json", *arguments], environment)
    if answer.returncode:
        raise AssertionError(f"s3proxy config ended with {answer.returncode}: {answer.stderr}")
    printed = json.loads(answer.stdout)
    return {line["key"]: line["value"] for line in printed["settings"]}, printed["warnings"]
