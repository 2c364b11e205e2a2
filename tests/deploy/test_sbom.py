"""The bill of materials is CycloneDX, and lists the crates in the executable."""

import json
import pathlib
import subprocess
import unittest

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Bill(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = subprocess.run([ROOT / ".ci/sbom"], capture_output=True, text=True, check=True, timeout=120).stdout
        cls.bill = json.loads(cls.text)
        cls.crates = {crate["bom-ref"]: crate for crate in cls.bill["components"]}
        cls.scopes = {crate["name"]: crate["scope"] for crate in cls.bill["components"]}

    def test_it_fits_the_schema(self):
        validator = JsonStrictValidator(SchemaVersion.V1_6)
        self.assertIsNone(validator.validate_str(self.text))
        self.assertIsNotNone(validator.validate_str(self.text.replace('"library"', '"libary"', 1)))

    def test_it_lists_linked_and_build_crates_and_no_test_crates(self):
        self.assertEqual(self.scopes["pingora-core"], "required")
        self.assertEqual(self.scopes["ring"], "required")
        self.assertEqual(self.scopes["cc"], "excluded")
        self.assertEqual(self.scopes["serde_derive"], "excluded")
        for only_in_tests in ("s3s", "proptest", "criterion"):
            self.assertNotIn(only_in_tests, self.scopes)

    def test_every_crate_is_whole(self):
        for reference, crate in self.crates.items():
            with self.subTest(reference):
                self.assertEqual(crate["purl"], reference)
                self.assertRegex(crate["hashes"][0]["content"], "^[0-9a-f]{64}$")
                self.assertTrue(crate["licenses"][0]["expression"])

    def test_every_dependency_is_listed_and_reached(self):
        needs = {entry["ref"]: entry["dependsOn"] for entry in self.bill["dependencies"]}
        top = self.bill["metadata"]["component"]["bom-ref"]
        self.assertEqual(needs.keys(), self.crates.keys() | {top})
        reached, waiting = set(), [top]
        while waiting:
            reference = waiting.pop()
            if reference not in reached:
                reached.add(reference)
                waiting += needs[reference]
        self.assertEqual(reached, needs.keys())


if __name__ == "__main__":
    unittest.main()
