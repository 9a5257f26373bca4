"""The page of docs/reference/ about the fields of Slipway's kinds, from their CRDs: type, default, meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Schema = Mapping[str, Any]
CRDS = Path(__file__).parent.parent / "crds"
KINDS = ("llmdeployments", "acceleratorprofiles")
TITLE = """\
# Fields of LLMDeployment and AcceleratorProfile

<!-- Written by `make generate` from the CRDs; change what they are generated from, in operator/slipway/api. -->
"""
INTRODUCTION = """\
All fields of Slipway's kinds, as `kubectl explain` shows them, in one place. `[]` after a name: a list of these;
`{}`: a map, whose keys are names of yours. Names in a table are relative to the heading above it. A field without a
default may be left out, unless it is marked *required*.
"""


def page() -> str:
    """The complete page, without the note of its origin."""
    kinds = [yaml.safe_load((CRDS / f"slipway.dev_{kind}.yaml").read_text()) for kind in KINDS]
    return "\n".join([TITLE, INTRODUCTION, *map(_kind, kinds)])


def _kind(crd: Mapping[str, Any]) -> str:
    [version] = crd["spec"]["versions"]
    whole = version["schema"]["openAPIV3Schema"]
    names, scope = crd["spec"]["names"], crd["spec"]["scope"].lower()
    short = ", ".join(f"`{each}`" for each in names.get("shortNames", []))
    about = f"`apiVersion: {crd['spec']['group']}/{version['name']}`, {scope}; in short: {short}."
    parts = [f"## {names['kind']}\n\n{whole.get('description', '')} {about}\n", _columns(version)]
    for half in ("spec", "status"):
        schema = whole["properties"][half]
        parts += [f"### {names['kind']}: {half}\n\n{schema.get('description', '')}\n", *_half(half, schema)]
    return "\n".join(parts)


def _half(half: str, schema: Schema) -> Iterator[str]:
    """A table of the fields that have no fields, and a part for each of the others."""
    fields, required = schema["properties"], schema.get("required", [])
    if alone := {name: each for name, each in fields.items() if not _inside(each)}:
        yield _table({**schema, "properties": alone})
    for name, each in fields.items():
        if inside := _inside(each):
            title = f"#### `{half}.{name}{_suffix(each)}`{' (required)' * (name in required)}\n"
            yield "\n".join([title, f"{each.get('description', '')}\n", _table(inside)])


def _columns(version: Mapping[str, Any]) -> str:
    columns = version.get("additionalPrinterColumns", [])
    shown = ", ".join(each["name"] for each in columns if not each.get("priority"))
    wide = ", ".join(each["name"] for each in columns if each.get("priority"))
    return f"`kubectl get` shows {shown}; with `-o wide`, also {wide}.\n" if wide else f"`kubectl get` shows {shown}.\n"


def _table(schema: Schema) -> str:
    rows = [f"| `{name}` | {kind} | {default} | {what} |" for name, kind, default, what in _fields(schema, "")]
    return "\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows, ""])


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, str, str, str]]:
    """Each field below it, and those of a field right after it."""
    for name, each in schema.get("properties", {}).items():
        where, required = f"{path}{name}{_suffix(each)}", name in schema.get("required", [])
        what = " ".join([each.get("description", ""), *("*required*" for _ in range(required))]).strip()
        yield where, _type(each), _default(each), _cell(" ".join([what, *_sentences(each)]))
        if inside := _inside(each):
            yield from _fields(inside, f"{where}.")


def _inside(schema: Schema) -> Schema | None:
    """The schema with the fields of an object, of the items of a list or of the values of a map."""
    for each in (schema, schema.get("items"), schema.get("additionalProperties")):
        if isinstance(each, Mapping) and "properties" in each:
            return each
    return None


def _suffix(schema: Schema) -> str:
    if schema.get("type") == "array":
        return "[]"
    return "{}" if isinstance(schema.get("additionalProperties"), Mapping) else ""


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return _cell(" ".join(f"`{each}`" for each in schema["enum"]))
    if schema.get("x-kubernetes-int-or-string"):
        return "number or string"
    within = schema.get("items") if schema.get("type") == "array" else schema.get("additionalProperties")
    if isinstance(within, Mapping) and "properties" not in within:
        return _type(within)
    return {"object": "object", "array": "object"}.get(
        schema.get("type", ""), schema.get("format") or schema.get("type", "any")
    )


def _default(schema: Schema) -> str:
    """Of an object, each field has its own."""
    default = schema.get("default")
    return _cell(f"`{json.dumps(default)}`") if default is not None and not isinstance(default, dict | list) else ""


def _sentences(schema: Schema) -> Iterator[str]:
    """The limits that a schema has besides its type."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None and high < 1 << 31:
        yield f"From {low:,} to {high:,}."
    elif low:
        yield f"At least {low:,}."
    if "maxItems" in schema:
        yield f"At most {schema['maxItems']}."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
