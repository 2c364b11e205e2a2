"""The alerts and the dashboard, read by a PromQL parser: which metrics they ask for, and with which labels."""

import json
import pathlib
import re

import promql_parser
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus/rules.yaml"
DASHBOARD = ROOT / "deploy/grafana/s3proxy.json"
PROCEDURES = ROOT / "docs/procedures.md"

# The values that Grafana substitutes for its own variables.
BUILT_IN = {"__rate_interval": "5m", "__interval": "1m", "__range": "6h"}
VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
LABEL_VALUES = re.compile(r"^label_values\((.+), *(\w+)\)$")


def rules():
    """The groups of the rules file."""
    return yaml.safe_load(RULES.read_text())["groups"]


def alerts():
    return [rule for group in rules() for rule in group["rules"] if "alert" in rule]


def recorded():
    return {rule["record"] for group in rules() for rule in group["rules"] if "record" in rule}


def dashboard():
    return json.loads(DASHBOARD.read_text())


def panels():
    """Those of the dashboard, rows left out."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def variables():
    return {variable["name"]: variable for variable in dashboard()["templating"]["list"]}


def filled_in(expression):
    """The expression as Grafana would send it; a name that the dashboard does not have stays, and fails."""
    known = BUILT_IN | dict.fromkeys(variables(), "x")
    return VARIABLE.sub(lambda found: known.get(found[1] or found[2], found[0]), expression)


def expressions():
    """Every expression with where it is written."""
    for group in rules():
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], filled_in(target["expr"])
    for name, variable in variables().items():
        if variable["type"] == "query":
            found = LABEL_VALUES.match(variable["query"]["query"])
            if not found:
                raise AssertionError(f"variable {name}: only label_values is read here")
            yield f"variable {name}", filled_in(f"sum by ({found[2]}) ({found[1]})")


def selectors(expression):
    """Name and labels of each metric that the expression asks for."""
    found = []

    def look(node):
        if isinstance(node, promql_parser.VectorSelector):
            matchers = [*node.matchers.matchers, *sum(node.matchers.or_matchers, [])]
            found.append((node.name, {matcher.name for matcher in matchers if matcher.name != "__name__"}))
        return True

    promql_parser.walk(promql_parser.parse(expression), look)
    return found


def metrics():
    """The names that are used and not recorded here."""
    asked = {name for _, expression in expressions() for name, _ in selectors(expression)}
    return asked - recorded()


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
