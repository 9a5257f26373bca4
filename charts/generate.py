"""Writes each chart's README.md and values.schema.json from the comments and the defaults in its values.yaml.

The comment above a key describes it. A line of the comment that starts with `+schema:` is JSON Schema in YAML, added to
the schema of the default: a map with keys allows only those keys, an empty map allows any. A single word there is the
name of one of `shared_schemas`. A comment above the first empty line is the introduction of the README.

helm removes a value that a user sets to null. Templates work without a value whose default is empty, or an open map or
a list; all other values are required.

helm checks the schema before it renders anything, so the schema itself must suggest the right name for an unknown one
(`nearest_names`).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from nearest import nearest_names
from shared_schemas import SHARED

CHARTS = Path(__file__).parent
KEY = re.compile(r"(?P<indent> *)(?P<key>[\w.-]+):(?: |$)")
SCHEMA = "+schema:"
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
OF_PARENTS: dict[str, Any] = {
    "global": {"type": "object", "description": "Values that a parent chart passes to all of its dependencies."},
    "enabled": {"const": True, "description": "The condition of a parent chart; it has no effect in this one."},
}
"""Values that a parent chart may set."""

Path_ = tuple[str, ...]


@dataclass
class Comment:
    text: str = ""
    schema: dict[str, Any] = field(default_factory=dict)


def comments(values: str) -> dict[Path_, Comment]:
    """The comments by the path of their key; each key is on its own line."""
    found: dict[Path_, Comment] = {}
    above: list[str] = []
    path: list[tuple[int, str]] = []
    for line in values.splitlines():
        if line.strip().startswith("#"):
            above.append(line.strip().removeprefix("#").strip())
        elif match := KEY.match(line):
            depth = len(match["indent"])
            path = [*(each for each in path if each[0] < depth), (depth, match["key"])]
            found[tuple(key for _, key in path)] = _comment(above)
            above = []
        else:
            above = []
    return found


def _comment(lines: list[str]) -> Comment:
    schemas = [line.removeprefix(SCHEMA) for line in lines if line.startswith(SCHEMA)]
    text = " ".join(line for line in lines if not line.startswith(SCHEMA))
    told = yaml.safe_load("\n".join(schemas)) or {}
    return Comment(text, SHARED[told] if isinstance(told, str) else told)


def schema(value: Any, told: dict[Path_, Comment], path: Path_ = ()) -> dict[str, Any]:
    comment = told.get(path, Comment())
    found: dict[str, Any] = {"description": comment.text} if comment.text else {}
    found["type"] = TYPES[type(value)]
    if isinstance(value, dict) and value and "additionalProperties" not in comment.schema:
        names = OF_PARENTS if not path else {}
        found["properties"] = names | {key: schema(each, told, (*path, key)) for key, each in value.items()}
        found["additionalProperties"] = path == ("global",)
        found["required"] = [key for key in value if not may_be_missing(found["properties"][key], value[key])]
    found |= comment.schema
    if found.get("additionalProperties") is False:
        found |= nearest_names(found["properties"], path, {} if path else places(value))
    return found


def may_be_missing(told: dict[str, Any], default: Any) -> bool:
    if isinstance(default, dict):
        return told.get("additionalProperties") is not False
    if isinstance(default, list):
        return "minItems" not in told
    return not default


def places(values: dict[str, Any], path: Path_ = ()) -> dict[str, list[Path_]]:
    """Where each name is, of those below the first level: people look for it there."""
    found: dict[str, list[Path_]] = {}
    for key, each in values.items():
        if path:
            found.setdefault(key, []).append((*path, key))
        for name, where in (places(each, (*path, key)) if isinstance(each, dict) else {}).items():
            found.setdefault(name, []).extend(where)
    return found


def rows(value: Any, told: dict[Path_, Comment], path: Path_ = ()) -> Iterator[tuple[str, str, str]]:
    """Name, default and text of each value that can be set by itself."""
    comment = told.get(path, Comment())
    if isinstance(value, dict) and value and "additionalProperties" not in comment.schema:
        if comment.text:
            yield ".".join(path), "", comment.text
        for key, each in value.items():
            yield from rows(each, told, (*path, key))
    else:
        yield ".".join(path), f"`{json.dumps(value)}`", comment.text


def introduction(values: str) -> str:
    """A line that holds nothing but its `#` ends a paragraph."""
    first, _, _ = values.partition("\n\n")
    lines = first.splitlines()
    if not all(line.startswith("#") for line in lines):
        return ""
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines) + "\n\n"


def readme(chart: dict[str, Any], values: dict[str, Any], told: dict[Path_, Comment], text: str) -> str:
    table = "".join(f"| `{name}` | {default} | {what} |\n" for name, default, what in rows(values, told))
    return (
        f"<!-- Written by `make generate` from Chart.yaml and values.yaml: change those, not this file. -->\n"
        f"# {chart['name']}\n\n{chart['description']}.\n\n{introduction(text)}"
        f"| value | default | what it is |\n|---|---|---|\n{table}"
    )


def main() -> int:
    for folder in sorted(each.parent for each in CHARTS.glob("*/Chart.yaml")):
        chart, text = yaml.safe_load((folder / "Chart.yaml").read_text()), (folder / "values.yaml").read_text()
        values, told = yaml.safe_load(text), comments(text)
        drawn = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema(values, told)}
        (folder / "values.schema.json").write_text(json.dumps(drawn, indent=2) + "\n")
        (folder / "README.md").write_text(readme(chart, values, told, text))
    for crd in sorted((CHARTS.parent / "crds").glob("*.yaml")):
        (CHARTS / "slipway-crds/files" / crd.name).write_bytes(crd.read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
