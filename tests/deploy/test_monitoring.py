"""The alerts and the dashboard can be read by Prometheus and Grafana, and lead to the procedures.

That each metric is in a scrape is checked by tests/e2e/monitoring.rs."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml

import monitoring

HERE = pathlib.Path(__file__).parent
# Metrics of other sources: Prometheus itself, and kube-state-metrics.
OF_OTHERS = {
    "up",
    "kube_deployment_spec_replicas",
    "kube_deployment_status_replicas_available",
    "kube_deployment_status_replicas_updated",
    "kube_pod_container_resource_limits",
}
# These need no `for`: one occurrence is enough, or the time is in the expression.
AT_ONCE = {"S3ProxyInternalErrors", "S3ProxyRestarts"}
PROMTOOL = os.environ.get("S3PROXY_TEST_PROMTOOL")


class Expressions(unittest.TestCase):
    def test_every_expression_is_promql_about_known_metrics(self):
        seen = 0
        for place, expression in monitoring.expressions():
            with self.subTest(place=place, expression=expression):
                found = monitoring.selectors(expression)
                self.assertTrue(found, "no metric is asked for")
                for name, _ in found:
                    known = name in OF_OTHERS | monitoring.recorded()
                    self.assertTrue(known or re.match("(s3proxy|process)_", name), name)
            seen += 1
        self.assertGreater(seen, 60)

    def test_every_recording_rule_is_used(self):
        asked = {name for _, expression in monitoring.expressions() for name, _ in monitoring.selectors(expression)}
        self.assertLessEqual(monitoring.recorded(), asked)

    def test_processes_of_others_do_not_count(self):
        for place, expression in monitoring.expressions():
            names = {name for name, _ in monitoring.selectors(expression)}
            if any(name.startswith("process_") for name in names):
                with self.subTest(place):
                    self.assertIn("s3proxy_build_info", names)


class Alerts(unittest.TestCase):
    def test_they_say_how_bad_it_is_and_what_to_do(self):
        for alert in monitoring.alerts():
            with self.subTest(alert["alert"]):
                self.assertLessEqual(alert.keys(), {"alert", "expr", "for", "labels", "annotations"})
                self.assertEqual("for" in alert, alert["alert"] not in AT_ONCE)
                self.assertEqual(alert["labels"].keys(), {"severity"})
                self.assertIn(alert["labels"]["severity"], {"critical", "warning"})
                self.assertEqual(alert["annotations"].keys(), {"summary", "description", "runbook_url"})
                self.assertNotIn("{{", alert["annotations"]["summary"])

    def test_each_has_its_procedure_and_each_procedure_its_alert(self):
        names = [alert["alert"] for alert in monitoring.alerts()]
        self.assertEqual(len(set(names)), len(names))
        anchors = monitoring.anchors(monitoring.PROCEDURES)
        for alert in monitoring.alerts():
            page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
            with self.subTest(alert["alert"]):
                self.assertTrue(page.endswith("/docs/procedures.md"), page)
                self.assertEqual(anchor, alert["alert"].lower())
                self.assertIn(anchor, anchors)
        described = {anchor for anchor in anchors if anchor.startswith("s3proxy") and " " not in anchor}
        self.assertEqual(described, {name.lower() for name in names})

    def test_each_is_seen_to_fire(self):
        text = (HERE / "rules_test.yaml").read_text()
        for alert in monitoring.alerts():
            self.assertRegex(text, rf"\b{alert['alert']}\b")


class Dashboard(unittest.TestCase):
    def test_panels_are_whole(self):
        panels = monitoring.dashboard()["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        titles = [panel["title"] for panel in panels]
        self.assertEqual(len(set(titles)), len(titles))
        for panel in monitoring.panels():
            with self.subTest(panel["title"]):
                self.assertIn(panel["type"], {"stat", "state-timeline", "table", "timeseries"})
                self.assertTrue(panel["description"])
                self.assertTrue(panel["fieldConfig"]["defaults"]["unit"])
                self.assertEqual(panel["datasource"], {"type": "prometheus", "uid": "${datasource}"})
                references = [target["refId"] for target in panel["targets"]]
                self.assertEqual(len(set(references)), len(references))
                for target in panel["targets"]:
                    self.assertEqual(target["datasource"], panel["datasource"])

    def test_panels_fill_their_rows_and_overlap_nowhere(self):
        taken = set()
        for panel in monitoring.dashboard()["panels"]:
            at = panel["gridPos"]
            with self.subTest(panel["title"]):
                cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
                self.assertFalse(cells & taken)
                self.assertLessEqual(at["x"] + at["w"], 24)
                taken |= cells
        rows = max(y for _, y in taken) + 1
        self.assertEqual(len(taken), 24 * rows, "a hole")

    def test_variables_are_there_and_used(self):
        variables = monitoring.variables()
        self.assertEqual(list(variables), ["datasource", "namespace", "profile"])
        text = monitoring.DASHBOARD.read_text()
        used = {found[0] or found[1] for found in monitoring.VARIABLE.findall(text)}
        self.assertEqual(used, set(variables) | {"__rate_interval", "__all"})

    def test_the_namespace_is_heeded_everywhere(self):
        for panel in monitoring.panels():
            for target in panel["targets"]:
                for name, labels in monitoring.selectors(monitoring.filled_in(target["expr"])):
                    with self.subTest(panel=panel["title"], metric=name):
                        self.assertIn("namespace", labels)


@unittest.skipUnless(PROMTOOL, "there is no promtool")
class Promtool(unittest.TestCase):
    """Checks by Prometheus' own tool."""

    def promtool(self, *arguments):
        command = [PROMTOOL, *map(str, arguments)]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertEqual(answer.returncode, 0, answer.stdout + answer.stderr)
        return answer.stdout

    def test_the_rules_are_right(self):
        self.promtool("check", "rules", "--lint=all", "--lint-fatal", monitoring.RULES)

    def test_alerts_fire_when_they_should(self):
        self.assertIn("SUCCESS", self.promtool("test", "rules", HERE / "rules_test.yaml"))

    def test_it_reads_the_expressions_of_the_dashboard(self):
        written = [(f"r{number}", expression) for number, (_, expression) in enumerate(monitoring.expressions())]
        rules = [{"record": name, "expr": expression} for name, expression in written]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "rules.yaml"
            path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
            self.promtool("check", "rules", "--lint=none", path)


if __name__ == "__main__":
    unittest.main()
