"""The example of a Valkey for the shared cache: Kubernetes admits it, and it fits the chart."""

import re
import unittest

import kubernetes_validate
import yaml

from chart import ROOT, release
from test_chart import SELECTOR
from test_schemas import VERSIONS

FILE = ROOT / "deploy/helm/valkey.yaml"
TEXT = FILE.read_text()
OBJECTS = {found["kind"]: found for found in yaml.safe_load_all(TEXT)}


class Valkey(unittest.TestCase):
    def test_every_object_fits_its_schema(self):
        self.assertEqual(set(OBJECTS), {"Deployment", "Service", "NetworkPolicy"})
        for kind, found in OBJECTS.items():
            for version in VERSIONS:
                with self.subTest(kind=kind, version=version):
                    kubernetes_validate.validate(found, version, strict=True)

    def test_the_values_in_its_comment_lead_to_it(self):
        comment = re.findall(r"^# {3}(.*)$", TEXT, re.M)
        found = release("defaults", yaml.safe_load("\n".join(comment)))
        service, pod = OBJECTS["Service"], OBJECTS["Deployment"]["spec"]["template"]
        host, port = re.fullmatch(r"redis://(.+):(\d+)", found.settings["cache"]["shared"]["url"]).groups()
        self.assertEqual((service["metadata"]["name"], service["spec"]["ports"][0]["port"]), (host, int(port)))
        self.assertEqual(service["spec"]["selector"], pod["metadata"]["labels"])
        (container,) = pod["spec"]["containers"]
        reference = container["env"][0]["valueFrom"]["secretKeyRef"]
        secret = found.mounts()["/etc/s3proxy/shared"]["secret"]
        (item,) = secret["items"]
        self.assertEqual((reference["name"], reference["key"]), (secret["secretName"], item["key"]))

    def test_the_gateways_alone_reach_it(self):
        policy = OBJECTS["NetworkPolicy"]["spec"]
        self.assertEqual(policy["podSelector"]["matchLabels"], OBJECTS["Service"]["spec"]["selector"])
        (rule,) = policy["ingress"]
        (peer,) = rule["from"]
        self.assertLessEqual(peer["podSelector"]["matchLabels"].items(), SELECTOR.items())

    def test_its_memory_is_below_its_limit_and_purges_are_not_evicted(self):
        (container,) = OBJECTS["Deployment"]["spec"]["template"]["spec"]["containers"]
        (script,) = container["args"]
        most = int(re.search(r"--maxmemory (\d+)mb", script).group(1))
        self.assertLessEqual(most * 4, 3 * 2048)
        self.assertEqual(container["resources"]["limits"]["memory"], "2Gi")
        self.assertIn("--maxmemory-policy volatile-lru", script)


if __name__ == "__main__":
    unittest.main()
