"""The chart, rendered by Helm's own library, with the queries that tests make of the rendered objects."""

import pathlib

import helm_python
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/s3proxy"
VALUES = ROOT / "tests/deploy/values"
# Each of these is rendered: which values files, in this order.
CASES = {
    "defaults": ["defaults"],
    "usdfdev": ["usdfdev", "phalanx"],
    "usdfprod": ["usdfprod", "phalanx"],
    "disk": ["disk"],
    "public": ["public"],
    "everything": ["everything"],
    "tls": ["tls"],
}

_chart = helm_python.Chart.load(CHART)


class Refused(Exception):
    """Helm did not render these values."""


def merged(base, more):
    """As Helm lays one values file over another."""
    if not (isinstance(base, dict) and isinstance(more, dict)):
        return more
    return base | {key: merged(base.get(key), value) for key, value in more.items()}


def values(case, more=None):
    result = {}
    for name in CASES[case]:
        result = merged(result, yaml.safe_load((VALUES / f"{name}.yaml").read_text()))
    return merged(result, more or {})


class Release:
    """The objects of one release, by kind; the ConfigMap of the dashboard is a `Dashboard` here, and the Service of
    the admin port an `AdminService`."""

    def __init__(self, given, name="s3proxy"):
        try:
            files = _chart.render(given, name=name, namespace="data")
        except helm_python.HelmError as error:
            raise Refused(str(error)) from error
        self.notes = files.pop("s3proxy/templates/NOTES.txt")
        self.text = "\n---\n".join(files.values())
        self.objects = [found for found in yaml.load_all(self.text, _Strict) if found]
        self._kinds = {_kind(found): found for found in self.objects}
        if len(self._kinds) != len(self.objects):
            raise AssertionError("two objects of one kind")

    def __contains__(self, kind):
        return kind in self._kinds

    def __getitem__(self, kind):
        return self._kinds[kind]

    @property
    def pod(self):
        return self["Deployment"]["spec"]["template"]

    @property
    def container(self):
        (container,) = self.pod["spec"]["containers"]
        return container

    @property
    def configuration(self):
        """The text of the gateway's configuration file."""
        return self["ConfigMap"]["data"]["s3proxy.yaml"]

    @property
    def settings(self):
        return yaml.safe_load(self.configuration)

    def mounts(self):
        """The pod's volumes by the path where the container sees them."""
        volumes = {volume["name"]: volume for volume in self.pod["spec"]["volumes"]}
        return {mount["mountPath"]: volumes[mount["name"]] for mount in self.container["volumeMounts"]}


def _kind(found):
    name = found["metadata"]["name"]
    if name.endswith("-dashboard"):
        return "Dashboard"
    return "AdminService" if name.endswith("-admin") else found["kind"]


def release(case, more=None):
    return Release(values(case, more))


class _Strict(yaml.SafeLoader):
    """Refuses a duplicate key, as Kubernetes' own reader does."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(set(keys)) != len(keys):
            raise yaml.constructor.ConstructorError(None, None, f"a key is there twice: {keys}", node.start_mark)
        return super().construct_mapping(node, deep)
