"""The table of values in the chart's README, made of the comments of values.yaml as helm-docs does.

readme.py --write puts it there."""

import json
import pathlib
import re
import sys

import yaml

CHART = pathlib.Path(__file__).resolve().parents[2] / "deploy/helm/s3proxy"
BEGIN, END = "<!-- values -->\n", "<!-- end of values -->\n"
LINE = re.compile(r"^( *)([A-Za-z0-9]+):(.*)$")


def rows():
    """Key, type, default and description of each value that is not a mere parent of others."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    comment, default, path, documented = [], None, [], None
    for line in (CHART / "values.yaml").read_text().splitlines():
        text = line.strip()
        if text.startswith("# @default -- "):
            default = text.removeprefix("# @default -- ")
        elif text.startswith("# -- "):
            comment = [text.removeprefix("# -- ")]
        elif text.startswith("# ") and comment:
            comment.append(text.removeprefix("# "))
        elif found := LINE.match(line):
            depth, key, rest = len(found[1]) // 2, found[2], found[3].strip()
            path[depth:] = [key]
            below = documented is not None and path[: len(documented)] == documented and path != documented
            if not below and (comment or rest):
                documented = list(path)
                value = values
                for part in path:
                    value = value[part]
                shown = default or f"`{json.dumps(value)}`"
                yield ".".join(path), kind(value), shown, " ".join(comment)
            comment, default = [], None
        elif not text:
            comment, default = [], None


def kind(value):
    for types, name in ((bool, "bool"), (int, "int"), (list, "list"), (dict, "object")):
        if isinstance(value, types):
            return name
    return "string"


def table():
    lines = [f"| `{key}` | {type_} | {default} | {text} |\n" for key, type_, default, text in sorted(rows())]
    return "| key | type | default | meaning |\n|---|---|---|---|\n" + "".join(lines)


def parts():
    before, _, rest = (CHART / "README.md").read_text().partition(BEGIN)
    written_table, _, after = rest.partition(END)
    return before, written_table, after


def written():
    return parts()[1]


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    first, _, last = parts()
    (CHART / "README.md").write_text(first + BEGIN + table() + END + last)
