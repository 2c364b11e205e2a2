"""Schemas of the custom resources, as far as the chart uses them: Kubernetes' own schemas do not include
them. Field names and types are those of the resources' definitions."""


def exactly(required, **optional):
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": required | optional,
        "required": sorted(required),
        "additionalProperties": False,
    }


TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "array", "items": TEXT, "minItems": 1}
LABELS = {"type": "object", "additionalProperties": TEXT}
METADATA = exactly({"name": TEXT}, labels=LABELS)
PORT = {"oneOf": [exactly({"number": {"type": "integer"}}), exactly({"name": TEXT})]}
PATH = exactly(
    {
        "path": {"type": "string", "pattern": "^/"},
        "pathType": {"enum": ["Exact", "ImplementationSpecific", "Prefix"]},
        "backend": exactly({"service": exactly({"name": TEXT, "port": PORT})}),
    }
)
RULE = exactly({"host": TEXT, "http": exactly({"paths": {"type": "array", "items": PATH, "minItems": 1}})})
DURATION = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}
RECORDED = exactly({"record": TEXT, "expr": TEXT})
ALERT = exactly({"alert": TEXT, "expr": TEXT, "labels": LABELS, "annotations": LABELS}, **{"for": DURATION})
RULES = {"type": "array", "minItems": 1, "items": {"oneOf": [RECORDED, ALERT]}}
TLS = exactly({"hosts": TEXTS}, secretName=TEXT)


def resource(version, kind, **fields):
    return exactly({"apiVersion": {"const": version}, "kind": {"const": kind}, "metadata": METADATA} | fields)


SCHEMAS = {
    "GafaelfawrIngress": resource(
        "gafaelfawr.lsst.io/v1alpha1",
        "GafaelfawrIngress",
        config=exactly(
            {"scopes": exactly({"all": TEXTS}), "service": TEXT},
            authCacheDuration={"type": "string", "pattern": "^[0-9]+(ms|[smhdwMy])$"},
            loginRedirect={"type": "boolean"},
        ),
        template=exactly(
            {
                "metadata": exactly({"name": TEXT}, annotations=LABELS),
                "spec": exactly({"rules": {"type": "array", "items": RULE}}, tls={"type": "array", "items": TLS}),
            }
        ),
    ),
    "PodMonitor": resource(
        "monitoring.coreos.com/v1",
        "PodMonitor",
        spec=exactly(
            {
                "selector": exactly({"matchLabels": LABELS}),
                "podMetricsEndpoints": {
                    "type": "array",
                    "minItems": 1,
                    "items": exactly(
                        {"port": TEXT, "path": TEXT},
                        interval=DURATION,
                        scheme={"enum": ["http", "https"]},
                        tlsConfig=exactly({"insecureSkipVerify": {"type": "boolean"}}),
                    ),
                },
            }
        ),
    ),
    "PrometheusRule": resource(
        "monitoring.coreos.com/v1",
        "PrometheusRule",
        spec=exactly({"groups": {"type": "array", "minItems": 1, "items": exactly({"name": TEXT, "rules": RULES})}}),
    ),
    "VaultSecret": resource(
        "ricoberger.de/v1alpha1",
        "VaultSecret",
        spec=exactly({"path": TEXT, "type": {"const": "Opaque"}}),
    ),
}
