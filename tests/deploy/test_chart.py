"""The objects agree with each other and with the configuration, and names that operators rely on do not change."""

import json
import re
import unittest

import monitoring
import readme
from chart import CASES, Release, release, values

# A Deployment's selector cannot be changed: with other labels, an upgrade in place fails.
SELECTOR = {"app.kubernetes.io/name": "s3proxy", "app.kubernetes.io/instance": "s3proxy"}
RESTRICTED = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "fsGroup": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def port(address):
    return int(address.split(" ")[0].rpartition(":")[2])


def seconds(text):
    return int(text.removesuffix("s"))


class Agreement(unittest.TestCase):
    def each(self):
        for case in CASES:
            with self.subTest(case=case):
                yield release(case)

    def test_ports_are_those_of_the_configuration(self):
        for found in self.each():
            ports = {entry["name"]: entry["containerPort"] for entry in found.container["ports"]}
            self.assertEqual(ports["http"], port(found.settings["listen"]))
            admin = found.settings["admin"]["listen"]
            if "admin" in ports:
                self.assertEqual(ports["admin"], port(admin))
            else:
                self.assertTrue(admin.startswith("127.0.0.1:"))
            for probe in ("livenessProbe", "readinessProbe"):
                self.assertIn(found.container[probe]["httpGet"]["port"], ports)
            entry, *more = found["Service"]["spec"]["ports"]
            self.assertEqual((entry["port"], entry["targetPort"]), (8080, "http"))
            protocol = "kubernetes.io/h2c" if found.settings["listen"].endswith(" http2") else None
            self.assertEqual(entry.get("appProtocol"), protocol)
            if "tls" in found.settings:
                (secure,) = more
                self.assertEqual((secure["port"], secure["targetPort"]), (8443, "https"))
                self.assertEqual(ports["https"], port(found.settings["tls"]["listen"]))
            else:
                self.assertEqual(more, [])
                self.assertNotIn("https", ports)
            scheme = "https" if "tls" in found.settings["admin"] else "http"
            for probe in ("livenessProbe", "readinessProbe"):
                asked = found.container[probe]["httpGet"]
                expected = scheme if asked["port"] == "admin" else "http"
                self.assertEqual(asked.get("scheme", "HTTP").lower(), expected)
            if "PodMonitor" in found:
                (endpoint,) = found["PodMonitor"]["spec"]["podMetricsEndpoints"]
                self.assertIn(endpoint["port"], ports)
                self.assertEqual(endpoint.get("scheme", "http"), scheme)

    def test_files_of_the_configuration_are_mounted(self):
        for found in self.each():
            mounts = found.mounts()
            variables = {entry["name"]: entry.get("value") for entry in found.container["env"]}
            folder, _, name = variables["S3PROXY_CONFIG"].rpartition("/")
            self.assertEqual(mounts[folder]["configMap"]["name"], found["ConfigMap"]["metadata"]["name"])
            self.assertIn(name, found["ConfigMap"]["data"])
            if "credentials_file" in found.settings:
                folder, _, name = found.settings["credentials_file"].rpartition("/")
                (item,) = mounts[folder]["secret"]["items"]
                self.assertEqual(item["path"], name)
                # Readable only for the group of the volume, which is fsGroup.
                self.assertEqual(mounts[folder]["secret"]["defaultMode"], 0o440)
            folder = "/etc/s3proxy/tls"
            files = [value for value in found.settings.get("tls", {}).values() if str(value).startswith(folder)]
            self.assertEqual(folder in mounts, bool(files))
            if files:
                items = {f"{folder}/{item['path']}" for item in mounts[folder]["secret"]["items"]}
                self.assertEqual(items, set(files))
                self.assertEqual(mounts[folder]["secret"]["defaultMode"], 0o440)
            disk = found.settings["cache"].get("disk")
            if disk:
                self.assertTrue({"ephemeral", "emptyDir"} & set(mounts[disk["path"]]))
            else:
                self.assertNotIn("/var/cache/s3proxy", mounts)

    def test_a_changed_secret_reaches_the_pod(self):
        """Kubelet updates neither subPath mounts nor files that an init container has copied."""
        for found in self.each():
            self.assertNotIn("initContainers", found.pod["spec"])
            for mount in found.container["volumeMounts"]:
                self.assertNotIn("subPath", mount)
                self.assertNotIn("subPathExpr", mount)

    def test_the_pod_outlives_its_drain(self):
        for found in self.each():
            server = found.settings["server"]
            drain = seconds(server["lame_duck"]) + seconds(server["grace_period"])
            self.assertGreaterEqual(found.pod["spec"]["terminationGracePeriodSeconds"], drain + 5)
            self.assertNotIn("lifecycle", found.container)

    def test_everything_finds_the_pods(self):
        for found in self.each():
            self.assertEqual(found["Deployment"]["spec"]["selector"], {"matchLabels": SELECTOR})
            self.assertLessEqual(SELECTOR.items(), found.pod["metadata"]["labels"].items())
            self.assertEqual(found["Service"]["spec"]["selector"], SELECTOR)
            for kind in ("NetworkPolicy", "PodDisruptionBudget", "PodMonitor"):
                if kind in found:
                    selector = "podSelector" if kind == "NetworkPolicy" else "selector"
                    self.assertEqual(found[kind]["spec"][selector], {"matchLabels": SELECTOR})

    def test_the_ingress_leads_to_the_service(self):
        for found in self.each():
            if "GafaelfawrIngress" in found:
                spec = found["GafaelfawrIngress"]["template"]["spec"]
            elif "Ingress" in found:
                spec = found["Ingress"]["spec"]
            else:
                continue
            (rule,) = spec["rules"]
            (path,) = rule["http"]["paths"]
            self.assertEqual(path["path"], found.settings["path_prefix"] or "/")
            service = found["Service"]
            self.assertEqual(path["backend"]["service"]["name"], service["metadata"]["name"])
            self.assertEqual(path["backend"]["service"]["port"]["number"], service["spec"]["ports"][0]["port"])

    def test_the_job_that_fills_the_cache_asks_the_gateway(self):
        for found in self.each():
            if "Job" not in found:
                continue
            pod = found["Job"]["spec"]["template"]
            # The Service must not send requests to it.
            self.assertNotEqual(pod["metadata"]["labels"]["app.kubernetes.io/name"], "s3proxy")
            self.assertFalse(pod["spec"]["automountServiceAccountToken"])
            (container,) = pod["spec"]["containers"]
            self.assertEqual(container["image"], found.container["image"])
            (prefix,) = [entry["value"] for entry in container["env"]]
            self.assertEqual(prefix, found.settings["path_prefix"])
            self.assertEqual(container["args"][:3], ["warm", "--url", f"http://{found['Service']['metadata']['name']}:8080"])
            self.assertIn(pod["metadata"]["labels"], [
                peer["podSelector"]["matchLabels"]
                for rule in found["NetworkPolicy"]["spec"]["ingress"]
                for peer in rule["from"]
                if "podSelector" in peer
            ])
        warm = {"warm": {"place": "hips@sky/"}, "admin": {"replicasService": True}}
        container = release("usdfprod", warm)["Job"]["spec"]["template"]["spec"]["containers"][0]
        self.assertEqual(container["args"][:3], ["warm", "--replicas", "dns:s3proxy-admin:8080"])
        names = {release("usdfprod", {"warm": {"place": place}})["Job"]["metadata"]["name"] for place in ("a@b/", "a@c/")}
        self.assertEqual(len(names), 2, "a Job cannot be changed")

    def test_pods_have_no_rights(self):
        for found in self.each():
            self.assertLessEqual(RESTRICTED.items(), found.pod["spec"]["securityContext"].items())
            self.assertFalse(found.pod["spec"]["automountServiceAccountToken"])
            self.assertEqual(
                found.container["securityContext"],
                {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
            )

    def test_no_secret_is_rendered(self):
        for found in self.each():
            self.assertNotIn("Secret", found)
            self.assertNotRegex(found["ConfigMap"]["data"]["s3proxy.yaml"], r"(?i)secret|access_key|token")


class Phalanx(unittest.TestCase):
    """The objects of today's application keep their names."""

    def test_names_are_those_of_the_application(self):
        for found in release("usdfprod").objects:
            with self.subTest(kind=found["kind"]):
                self.assertEqual(found["metadata"]["name"], "s3proxy")

    def test_objects_are_those_of_the_application_and_a_budget(self):
        kinds = {found["kind"] for found in release("usdfprod").objects}
        today = {"ConfigMap", "Deployment", "GafaelfawrIngress", "NetworkPolicy", "Service", "VaultSecret"}
        self.assertEqual(kinds, today | {"PodDisruptionBudget"})

    def test_values_of_an_environment_are_in_their_places(self):
        found, given = release("usdfprod"), values("usdfprod")
        self.assertEqual(found["Deployment"]["spec"]["replicas"], 8)
        self.assertEqual(found.container["resources"], given["resources"])
        self.assertEqual(found["VaultSecret"]["spec"]["path"], "secret/rubin/example/s3proxy")
        self.assertEqual(found.mounts()["/etc/s3proxy/credentials"]["secret"]["secretName"], "s3proxy")
        ingress = found["GafaelfawrIngress"]
        self.assertEqual(ingress["template"]["spec"]["rules"][0]["host"], "rsp.example.org")
        self.assertEqual(
            ingress["template"]["metadata"]["annotations"],
            given["ingress"]["annotations"] | {"nginx.ingress.kubernetes.io/upstream-hash-by": "$request_uri"},
        )
        self.assertEqual(
            ingress["config"],
            {
                "authCacheDuration": "5m",
                "loginRedirect": True,
                "scopes": {"all": ["read:image"]},
                "service": "s3proxy",
            },
        )

    def test_only_gafaelfawr_reaches_the_gateway_and_no_peer_its_admin_port(self):
        (rule,) = release("usdfprod")["NetworkPolicy"]["spec"]["ingress"]
        self.assertEqual(rule["ports"], [{"protocol": "TCP", "port": 8080}])
        (peer,) = rule["from"]
        self.assertEqual(peer["podSelector"], {"matchLabels": {"gafaelfawr.lsst.io/ingress": "true"}})


class Behaviour(unittest.TestCase):
    def test_only_named_peers_reach_the_admin_port(self):
        found = release("everything")
        public, _, admin = found["NetworkPolicy"]["spec"]["ingress"]
        self.assertEqual(public["from"], values("everything")["networkPolicy"]["from"])
        self.assertEqual(admin["ports"], [{"protocol": "TCP", "port": 9191}])
        self.assertEqual(admin["from"], values("everything")["networkPolicy"]["adminFrom"])

    def test_connections_of_the_pods_are_restricted_only_where_that_is_wanted(self):
        for case in ("defaults", "usdfprod"):
            spec = release(case)["NetworkPolicy"]["spec"]
            self.assertEqual((spec["policyTypes"], spec.get("egress")), (["Ingress"], None))
        given = values("everything")
        spec = release("everything")["NetworkPolicy"]["spec"]
        self.assertEqual(spec["policyTypes"], ["Ingress", "Egress"])
        names, peers = spec["egress"]
        self.assertEqual({entry["port"] for entry in names["ports"]}, {53})
        self.assertEqual(peers["to"], given["networkPolicy"]["to"] + given["cache"]["shared"]["peers"])
        without = release("everything", {"cache": {"shared": {"url": ""}}})["NetworkPolicy"]["spec"]
        self.assertEqual(without["egress"][1]["to"], given["networkPolicy"]["to"])

    def test_the_shared_cache_has_the_files_of_its_secret(self):
        found = release("everything")
        shared = found.settings["cache"]["shared"]
        self.assertEqual(shared["url"], values("everything")["cache"]["shared"]["url"])
        items = found.mounts()["/etc/s3proxy/shared"]["secret"]["items"]
        mounted = {f"/etc/s3proxy/shared/{item['path']}": item["key"] for item in items}
        expected = {"password_file": "secret", "mac_key_file": "mac", "ca_file": "ca.crt"}
        self.assertEqual({name: mounted[shared[name]] for name in expected}, expected)
        # Without a Secret there is no password.
        alone = release("defaults", {"cache": {"shared": {"url": "redis://valkey:6379"}}})
        self.assertEqual(alone.settings["cache"]["shared"], {"url": "redis://valkey:6379"})
        self.assertNotIn("/etc/s3proxy/shared", alone.mounts())
        self.assertNotIn("shared", release("defaults").settings["cache"])

    def test_a_service_account_is_that_of_the_values(self):
        self.assertEqual(release("everything").pod["spec"]["serviceAccountName"], "reader")
        self.assertNotIn("serviceAccountName", release("defaults").pod["spec"])

    def test_the_pods_reach_each_others_admin_port_only_where_that_is_wanted(self):
        self.assertNotIn("AdminService", release("everything"))
        found = release("everything", {"admin": {"replicasService": True}})
        service = found["AdminService"]
        self.assertEqual(service["metadata"]["name"], found["Service"]["metadata"]["name"] + "-admin")
        self.assertEqual((service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]), ("None", True))
        (entry,) = service["spec"]["ports"]
        self.assertEqual((entry["port"], entry["targetPort"]), (9191, "admin"))
        labels = found.pod["metadata"]["labels"]
        self.assertLessEqual(service["spec"]["selector"].items(), labels.items())
        *_, admin = found["NetworkPolicy"]["spec"]["ingress"]
        self.assertEqual(admin["from"][:-1], values("everything")["networkPolicy"]["adminFrom"])
        self.assertEqual(admin["from"][-1], {"podSelector": {"matchLabels": service["spec"]["selector"]}})

    def test_only_a_changed_configuration_restarts_pods(self):
        def pod(**config):
            return release("usdfprod", {"config": config}).pod

        self.assertNotEqual(pod(), pod(cacheMaxAge=1))
        self.assertEqual(pod(restartOnChange=False), pod(restartOnChange=False, cacheMaxAge=1))
        more = {"replicaCount": 3, "networkPolicy": {"enabled": False}, "ingress": {"annotations": {"a": "b"}}}
        self.assertEqual(pod(), release("usdfprod", more).pod)

    def test_annotations_of_the_values_win(self):
        annotations = release("everything")["GafaelfawrIngress"]["template"]["metadata"]["annotations"]
        self.assertEqual(annotations["nginx.ingress.kubernetes.io/upstream-hash-by"], "$uri")

    def test_alerts_and_dashboard_are_those_of_their_files(self):
        found = release("everything")
        self.assertEqual(found["PrometheusRule"]["spec"]["groups"], monitoring.rules())
        self.assertEqual(json.loads(found["Dashboard"]["data"]["s3proxy.json"]), monitoring.dashboard())
        labels = found["Dashboard"]["metadata"]["labels"]
        self.assertEqual((labels["grafana"], labels["grafana_dashboard"]), ("yes", "1"))
        for kind in ("PrometheusRule", "Dashboard"):
            self.assertNotIn(kind, release("defaults"))

    def test_one_pod_needs_no_budget(self):
        self.assertNotIn("PodDisruptionBudget", release("defaults"))

    def test_limits_can_be_taken_away(self):
        found = release("defaults", {"resources": {"limits": None}})
        self.assertEqual(list(found.container["resources"]), ["requests"])

    def test_releases_of_other_names_stay_apart(self):
        names = {Release({}, name)["Deployment"]["metadata"]["name"] for name in ("s3proxy", "tiles", "s3proxy-dev")}
        self.assertEqual(names, {"s3proxy", "tiles-s3proxy", "s3proxy-dev"})

    def test_long_names_fit(self):
        name = Release({}, "x" * 53)["Service"]["metadata"]["name"]
        self.assertLessEqual(len(name), 63)

    def test_notes_warn_of_what_is_open(self):
        for case, warned in (("usdfprod", False), ("public", True)):
            with self.subTest(case=case):
                self.assertEqual("WARNING" in release(case).notes, warned)
        self.assertIn("WARNING", release("defaults", {"networkPolicy": {"enabled": False}}).notes)


class Readme(unittest.TestCase):
    def test_its_table_is_of_the_values(self):
        self.assertEqual(readme.written(), readme.table(), "write it with tests/deploy/run --readme")

    def test_every_value_is_documented(self):
        for key, _, _, text in readme.rows():
            with self.subTest(key=key):
                self.assertTrue(text, "a comment `# -- ` is missing")

    def test_every_value_is_used(self):
        templates = "".join(path.read_text() for path in (readme.CHART / "templates").iterdir())
        for key, *_ in readme.rows():
            if key != "global.baseUrl":
                with self.subTest(key=key):
                    self.assertTrue(re.search(rf"\.{key.rpartition('.')[2]}\b", templates))


if __name__ == "__main__":
    unittest.main()
