"""The gateway accepts the rendered configuration, and its settings are those of the values."""

import contextlib
import http.client
import socket
import subprocess
import time
import unittest

import gateway
from chart import CASES, Refused, release, values


def of_phalanx(given):
    """The variables that the Phalanx application gives to s3proxy 2.0.1 for these values."""
    config = given["config"]
    variables = {
        "S3PROXY_LOG_LEVEL": config.get("logLevel", "INFO"),
        "S3PROXY_PATH_PREFIX": config.get("pathPrefix", "/s3proxy"),
        "S3PROXY_PROFILE": config.get("logProfile", "production"),
        "S3PROXY_CACHE_MAX_AGE": str(config.get("cacheMaxAge", 0)),
        "S3_ENDPOINT_URL": config.get("s3EndpointUrl", ""),
    }
    for profile in config.get("profiles", []):
        variables[f"LSST_RESOURCES_S3_PROFILE_{profile['name']}"] = profile["url"]
    return variables


class Configurations(unittest.TestCase):
    def test_every_rendered_configuration_that_names_a_store_is_taken_without_a_warning(self):
        for case in CASES:
            with self.subTest(case=case), gateway.files(release(case).configuration) as path:
                _, warnings = gateway.report(["--config", path], {})
                # The gateway does not see that the chart has raised it.
                raised = "unless terminationGracePeriodSeconds is raised"
                warnings = [line for line in warnings if raised not in line]
                if case == "defaults":
                    # The default values name no store, so there is none to sign requests for.
                    self.assertEqual([line.split(":")[0] for line in warnings], ["no profile has credentials"])
                else:
                    self.assertEqual(warnings, [])

    def test_values_of_phalanx_keep_their_meaning(self):
        for case in ("usdfdev", "usdfprod"):
            with self.subTest(case=case), gateway.files(release(case).configuration) as path:
                now, warnings = gateway.report(["--config", path], {})
                variables = of_phalanx(values(case))
                variables["AWS_SHARED_CREDENTIALS_FILE"] = str(path.with_name("aws-credentials.ini"))
                then, warnings_then = gateway.report([], variables)
                # The two settings for which the chart has other defaults than the gateway.
                self.assertEqual((now.pop("cache.memory"), then.pop("cache.memory")), ("192MiB", "auto"))
                self.assertEqual(now.pop("admin.listen"), "0.0.0.0:9090")
                self.assertEqual(then.pop("admin.listen"), "127.0.0.1:9090")
                self.assertEqual(now, then)
                self.assertEqual(warnings, warnings_then)

    def test_values_reach_their_settings(self):
        expected = {
            "listen": "[::]:8080 http2",
            "downstream.http2_max_streams": "64",
            "path_prefix": "/data",
            "cache_max_age": "10000000",
            "region": "us-west-2",
            "log.format": "development",
            "log.level": "WARNING",
            "cors.origins": '["https://data.example.org","http://localhost:3000"]',
            "upstream.connect_timeout": "1s",
            "server.lame_duck": "20s",
            "server.grace_period": "40s",
            "admin.listen": "[::]:9191",
            "cache.memory": "256Mi",
            "cache.blocks.share": "0",
            "cache.blocks.read_ahead": "16MiB",
            "cache.ttl": "10m",
            "cache.shared.url": "rediss-sentinel://(redacted)@a.example.org,b.example.org:26380/cache",
            "default_profile.endpoint": "http://s3.example.org",
            "profiles.hips.endpoint": "https://hips.example.org:9000/base",
            "profiles.hips.cache_control": "public, max-age=86400",
            "profiles.embargo.endpoint": "http://s3.example.org",
            "profiles.embargo.missing_on_403": "true",
        }
        with gateway.files(release("everything").configuration) as path:
            settings, _ = gateway.report(["--config", path], {})
        self.assertEqual({key: settings[key] for key in expected}, expected)

    def test_the_default_cache_fits_into_the_memory_request(self):
        for request, limit, memory in (
            ("256Mi", "1Gi", "192MiB"),
            ("512Mi", "1Gi", "384MiB"),
            ("1Gi", "1Gi", "auto"),
            ("536870912", "1073741824", "384MiB"),
            ("1G", "4G", "714MiB"),
            ("1.5Gi", "4Gi", "auto"),
            ("8Mi", "1Gi", "16MiB"),
            (None, "1Gi", "auto"),
            ("256Mi", None, "auto"),
        ):
            with self.subTest(request=request, limit=limit):
                resources = {"requests": {"memory": request}, "limits": {"memory": limit}}
                rendered = release("public", {"resources": resources, "cache": {"memory": "auto"}})
                self.assertEqual(rendered.settings["cache"]["memory"], memory)
        for resources in ({}, {"requests": None, "limits": None}):
            rendered = release("public", {"resources": resources, "cache": {"memory": "auto"}})
            self.assertIn(rendered.settings["cache"]["memory"], ("auto", "384MiB"))
        self.assertIn("192MiB, three quarters of the memory request", release("usdfprod").notes)
        large = release("usdfprod", {"cache": {"memory": "300Mi"}})
        self.assertIn("WARNING: cache.memory is not smaller than the memory request", large.notes)
        self.assertNotIn("cache.memory is not smaller", release("usdfprod").notes)

    def test_the_disk_tier_leaves_a_tenth_of_its_volume(self):
        for gib, mib in ((1, 921), (3, 2764), (200, 184320)):
            with self.subTest(gib=gib):
                disk = release("disk", {"cache": {"disk": {"volumeGiB": gib}}}).settings["cache"]["disk"]
                self.assertEqual(disk["size"], f"{mib}MiB")

    def test_a_mistake_that_helm_lets_pass_is_one_for_the_gateway(self):
        wrong = release("defaults", {"config": {"settings": {"upstream": {"conect_timeout": "1s"}}}})
        with gateway.files(wrong.configuration) as path:
            answer = gateway.run(["config", "--config", path], {})
        self.assertEqual(answer.returncode, 2)
        self.assertIn("did you mean upstream.connect_timeout?", answer.stderr)


class Refusals(unittest.TestCase):
    def test_helm_refuses(self):
        canary = "canary-secret"
        url = f"https://CANARY-ID:{canary}@s3.example.org"
        misspelt = {"name": "a", "url": "", "bucket": "b"}
        for what, given, reason in [
            ("an unknown value", {"replicacount": 2}, "replicacount"),
            ("an unknown key of a profile", {"config": {"profiles": [misspelt]}}, "bucket"),
            ("a profile twice", {"config": {"profiles": [{"name": "a", "url": ""}] * 2}}, "a is defined twice"),
            ("settings of the chart", {"config": {"settings": {"listen": ":1"}}}, "config.settings.listen"),
            ("such deeper down", {"config": {"settings": {"cache": {"memory": 0}}}}, "config.settings.cache.memory"),
            ("the public port for operators", {"admin": {"port": 8080}}, "/admin/port"),
            ("the port of HTTPS for operators", {"admin": {"port": 8443}}, "/admin/port"),
            ("TLS of operators without a certificate", {"tls": {"admin": True}}, "tls.secretName"),
            ("authorities without a certificate", {"tls": {"clientCaKey": "ca.crt"}}, "tls.secretName"),
            ("probes without a PROXY header", {"config": {"proxyProtocol": True}, "admin": {"expose": False}}, "admin.expose"),
            ("an ingress without a host", {"ingress": {"kind": "ingress"}}, "ingress.host"),
            ("metrics without a permitted scraper", {"metrics": {"annotations": True}}, "networkPolicy.adminFrom"),
            ("a Service of a loopback", {"admin": {"expose": False, "replicasService": True}}, "admin.expose"),
            (
                "a job that would be redirected",
                {"warm": {"place": "hips@a/"}, "config": {"settings": {"tls": {"redirect_to_https": True}}}},
                "with an https URL",
            ),
            ("keys in the default URL", {"config": {"s3EndpointUrl": url}}, "into the Secret"),
            ("keys in a profile", {"config": {"profiles": [{"name": "a", "url": url}]}}, "into the Secret"),
            ("keys with a slash", {"config": {"s3EndpointUrl": f"https://a:/{canary}@b"}}, "into the Secret"),
            ("keys in settings", {"config": {"settings": {"default_profile": {"endpoint": url}}}}, "into the Secret"),
        ]:
            with self.subTest(what):
                with self.assertRaises(Refused) as refused:
                    release("defaults", given)
                self.assertIn(reason, str(refused.exception))
                self.assertNotIn(canary, str(refused.exception))


class Running(unittest.TestCase):
    """A gateway with a rendered configuration answers the pod's own probes."""

    def test_probes_are_answered(self):
        for case in ("usdfprod", "public"):
            with self.subTest(case=case):
                # A store that receives no request.
                url = "http://127.0.0.1:9"
                found = release(case, {"config": {"profiles": [{"name": "a", "url": url}], "s3EndpointUrl": url}})
                ports = {"http": free_port(), "admin": free_port()}
                settings = found.configuration
                settings = settings.replace(found.settings["listen"], f"127.0.0.1:{ports['http']}")
                settings = settings.replace(found.settings["admin"]["listen"], f"127.0.0.1:{ports['admin']}")
                with gateway.files(settings) as path, serving(path, ports["http"]):
                    for probe in ("livenessProbe", "readinessProbe"):
                        asked = found.container[probe]["httpGet"]
                        with self.subTest(probe=probe):
                            self.assertEqual(status(ports[asked["port"]], asked["path"]), 200)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def status(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=gateway.PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().status


@contextlib.contextmanager
def serving(path, port):
    environment = {"S3PROXY_CONFIG": str(path)}
    process = subprocess.Popen([gateway.BINARY], env=environment, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + gateway.PATIENCE
        while True:
            try:
                status(port, "/")
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise AssertionError("the gateway does not serve") from None
                time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait(gateway.PATIENCE)


if __name__ == "__main__":
    unittest.main()
