"""The compose file with a store for trying: it is one, and the gateway accepts its configuration."""

import json
import os
import pathlib
import tempfile
import unittest
import urllib.parse

import gateway
import jsonschema
import yaml

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "compose"
SCHEMA = os.environ.get("S3PROXY_TEST_COMPOSE_SCHEMA")
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
CONFIGURATION = (FOLDER / "s3proxy.yaml").read_text()


class Compose(unittest.TestCase):
    def test_the_file_has_the_schema_of_compose(self):
        if not SCHEMA:
            self.skipTest("there is no schema of Compose")
        schema = jsonschema.Draft201909Validator(json.loads(pathlib.Path(SCHEMA).read_text()))
        schema.validate(COMPOSE)
        # The schema rejects what Compose does not know.
        with self.assertRaises(jsonschema.ValidationError):
            schema.validate({"services": {"store": {"imagine": "x"}}})

    def test_the_gateway_accepts_the_configuration(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "s3proxy.yaml")
            credentials = pathlib.Path(folder, "aws-credentials.ini")
            path.write_text(CONFIGURATION.replace("/etc/s3proxy", folder))
            credentials.write_text((FOLDER / "aws-credentials.ini").read_text())
            _, warnings = gateway.report([], {"S3PROXY_CONFIG": str(path)})
            self.assertEqual(warnings, [])

    def test_the_services_fit_together(self):
        store, s3proxy = COMPOSE["services"]["store"], COMPOSE["services"]["s3proxy"]
        settings = yaml.safe_load(CONFIGURATION)
        for service in (store, s3proxy):
            for port in service["ports"]:
                self.assertTrue(port.startswith("127.0.0.1:"), f"{port} is open to other machines")
        inside = {port.rsplit(":", 1)[1] for port in s3proxy["ports"]}
        self.assertEqual(inside, {settings["listen"].rsplit(":", 1)[1], settings["admin"]["listen"].rsplit(":", 1)[1]})
        endpoint = urllib.parse.urlsplit(settings["profiles"]["hips"]["endpoint"])
        self.assertEqual((endpoint.hostname, str(endpoint.port)), ("store", store["environment"]["MOTO_PORT"]))
        mounted = dict(volume.split(":")[:2] for volume in s3proxy["volumes"])
        for source in mounted:
            self.assertTrue((FOLDER / source).is_file(), source)
        self.assertIn(s3proxy["environment"]["S3PROXY_CONFIG"], mounted.values())
        self.assertIn(settings["credentials_file"], mounted.values())
        self.assertTrue((FOLDER / s3proxy["build"] / "Dockerfile").is_file())


if __name__ == "__main__":
    unittest.main()
