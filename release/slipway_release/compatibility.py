"""Refuses incompatible changes of the types since the last release, within an API version: docs/upgrades.md says why.

CEL rules are not compared: whether one became stricter must be reviewed by a person.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from slipway_devcluster.errors import Refusal

from slipway_release.source import ROOT, git

Schema = Mapping[str, Any]
UPPER = ("maximum", "maxItems", "maxLength", "maxProperties")
LOWER = ("minimum", "minItems", "minLength", "minProperties")
NO_DEFAULT = object()


def refuse_broken_promises(root: Path = ROOT) -> None:
    """Compare the types with those of the latest release that this checkout is based on, if there is one."""
    tags = git(root, "tag", "--list", "v*", "--merged", "HEAD", "--sort=-v:refname").split()
    for tag in [tag for tag in tags if "-" not in tag][:1]:  # release candidates make no promises
        for file in sorted((root / "crds").glob("*.yaml")):
            if broken := list(since(root, tag, file)):
                raise Refusal(
                    f"{file.name} breaks what docs/upgrades.md promises of the types since {tag}: {'; '.join(broken)}. "
                    "Make this change in a new API version, or revert it."
                )


def since(root: Path, tag: str, file: Path) -> Iterator[str]:
    try:
        before = yaml.safe_load(git(root, "show", f"{tag}:{file.relative_to(root)}"))
    except subprocess.CalledProcessError:
        return  # a new type
    after = {version["name"]: version for version in yaml.safe_load(file.read_text())["spec"]["versions"]}
    for version in before["spec"]["versions"]:
        name = version["name"]
        if name not in after:
            yield f"{name} is gone"
        else:
            yield from broken(_spec(version), _spec(after[name]), f"{name} spec")


def broken(before: Schema, after: Schema, path: str) -> Iterator[str]:
    """The incompatible changes between two schemas, each a phrase that names the field."""
    if before.get("type") != after.get("type"):
        yield f"{path} is {after.get('type')}, and was {before.get('type')}"
    if before.get("default", NO_DEFAULT) != after.get("default", NO_DEFAULT):
        yield f"{path} has another default"
    refused = [each for each in before.get("enum", ()) if each not in after.get("enum", [each])]
    yield from (f"{path} no longer takes {each!r}" for each in refused)
    yield from (f"{path} has a stricter {bound}" for bound in _stricter(before, after))
    required = set(after.get("required", ())) - set(before.get("required", ()))
    yield from (f"{path}.{name} is required" for name in sorted(required))
    yield from _of_fields(before.get("properties", {}), after.get("properties", {}), path)
    for inner in ("items", "additionalProperties"):
        if isinstance(before.get(inner), dict) and isinstance(after.get(inner), dict):
            yield from broken(before[inner], after[inner], f"{path}[]")


def _of_fields(before: Schema, after: Schema, path: str) -> Iterator[str]:
    for name, field in before.items():
        if name not in after:
            yield f"{path}.{name} is gone"
        else:
            yield from broken(field, after[name], f"{path}.{name}")
    for name in after.keys() - before.keys():
        if "default" in after[name]:
            yield f"{path}.{name} is new and has a default, which an older operator would find in every object"


def _stricter(before: Schema, after: Schema) -> Iterator[str]:
    for bound in UPPER:
        if bound in after and after[bound] < before.get(bound, float("inf")):
            yield bound
    for bound in LOWER:
        if bound in after and after[bound] > before.get(bound, float("-inf") if bound == "minimum" else 0):
            yield bound
    if "pattern" in after and after["pattern"] != before.get("pattern"):
        yield "pattern"
    if "enum" in after and "enum" not in before:
        yield "enum"


def _spec(version: Mapping[str, Any]) -> Schema:
    """The schema of the spec. That of the status may change, because users do not write it."""
    found: Schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found
