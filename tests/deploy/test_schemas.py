"""Every object is one that Kubernetes admits, and none has a field that Kubernetes does not know."""

import unittest

import helm_python
import jsonschema
import kubernetes_validate

from chart import CASES, CHART, release
from custom import SCHEMAS

# The oldest that Chart.yaml admits, and the newest that there are schemas of.
VERSIONS = ["1.27", kubernetes_validate.latest_version()]


class Schemas(unittest.TestCase):
    def test_every_object_fits_its_schema(self):
        for case in CASES:
            for found in release(case).objects:
                for version in VERSIONS:
                    with self.subTest(case=case, kind=found["kind"], version=version):
                        if found["kind"] in SCHEMAS:
                            jsonschema.validate(found, SCHEMAS[found["kind"]])
                        else:
                            kubernetes_validate.validate(found, version, strict=True)

    def test_the_schemas_refuse_wrong_objects(self):
        """Otherwise the test above proves nothing."""
        objects = {found["kind"]: found for found in release("everything").objects}
        objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]["volumeMount"] = []
        objects["ConfigMap"]["data"] = {"number": 1}
        objects["PodMonitor"]["spec"]["podMetricsEndpoints"][0]["portt"] = "admin"
        objects["GafaelfawrIngress"]["template"]["spec"]["rules"][0]["http"]["paths"][0].pop("pathType")
        for kind in ("Deployment", "ConfigMap"):
            with self.subTest(kind=kind), self.assertRaises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(objects[kind], VERSIONS[0], strict=True)
        for kind in ("PodMonitor", "GafaelfawrIngress"):
            with self.subTest(kind=kind), self.assertRaises(jsonschema.ValidationError):
                jsonschema.validate(objects[kind], SCHEMAS[kind])

    def test_helm_lint_finds_nothing(self):
        found = helm_python.lint(CHART)
        self.assertEqual(found["errors"], [])
        # 1 is "info": the chart has no icon.
        self.assertEqual([message for message in found["messages"] if message["severity"] > 1], [])


if __name__ == "__main__":
    unittest.main()
