"""Writes Argo CD's configuration for Slipway's kinds: the entries of its ConfigMap, and objects to test the Lua with.

The Lua is in `resource_customizations`, in the layout of Argo CD's own repository. The testdata have statuses that the
operator's own code computes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from support.builders.health_cases import AFTER_ACTIONS, HEALTH_CASES, PROFILE

HERE = Path(__file__).parent
CRDS = HERE.parents[1] / "crds"
CUSTOMIZATIONS = HERE / "resource_customizations"
MODELS, PROFILES = (CUSTOMIZATIONS / "slipway.dev" / kind for kind in ("LLMDeployment", "AcceleratorProfile"))
HEAD = "# Written by `make generate` from {}: change that, not this file.\n"
CONFIG_MAP = """\
# The health and the actions of Slipway's kinds, and fields that are ignored when Git is compared with the cluster. This
# command applies these entries, and leaves all others unchanged:
#
#   kubectl apply --server-side --field-manager=slipway --namespace=argocd -f argocd-cm.yaml
"""


class Readable(yaml.SafeDumper):
    """Writes strings of several lines as blocks."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Readable.add_representer(str, Readable.represent_text)


def dumped(thing: Any) -> str:
    return yaml.dump(thing, Dumper=Readable, sort_keys=False, allow_unicode=True, width=120)


def entries() -> Iterator[tuple[str, str]]:
    """Of argocd-cm: key and value."""
    for kind in sorted(CUSTOMIZATIONS.glob("*/*")):
        name = f"{kind.parent.name}_{kind.name}"
        yield f"resource.customizations.health.{name}", (kind / "health.lua").read_text()
        if (actions := kind / "actions").is_dir():
            definitions = [
                {"name": each.parent.name, "action.lua": each.read_text()}
                for each in sorted(actions.glob("*/action.lua"))
            ]
            customized = {"discovery.lua": (actions / "discovery.lua").read_text(), "definitions": definitions}
            yield f"resource.customizations.actions.{name}", dumped(customized)


def defaults() -> Iterator[tuple[str, str]]:
    """Where the API server fills in what Git leaves out, within lists.

    Argo CD's own comparison takes a list as a whole, so an item with one field more is another one. A field is left out
    of the comparison only where it has the very value that is filled in. With ServerSideDiff, none of this is needed.
    """
    for path in sorted(CRDS.glob("*.yaml")):
        definition = yaml.safe_load(path.read_text())["spec"]
        schema = definition["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        paths = [
            f"{item} | select({field} == {json.dumps(value)}) | {field}" for item, field, value in in_lists(schema)
        ]
        name = f"{definition['group']}_{definition['names']['kind']}"
        yield f"resource.customizations.ignoreDifferences.{name}", dumped({"jqPathExpressions": paths})


def in_lists(schema: dict[str, Any], path: str = ".spec", item: str = "") -> Iterator[tuple[str, str, Any]]:
    """How jq finds the items of the list, the path of a field within one, and its default."""
    if item and "default" in schema:
        yield item, path, schema["default"]
    for name, inner in (schema.get("properties") or {}).items():
        yield from in_lists(inner, f"{path}.{name}", item)
    if isinstance(inner := schema.get("items"), dict):
        yield from in_lists(inner, "", f"{item} | {path}[]?" if item else f"{path}[]?")


def config_map() -> str:
    metadata = {"name": "argocd-cm", "labels": {"app.kubernetes.io/part-of": "argocd"}}
    thing = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {**dict(entries()), **dict(defaults())},
    }
    return HEAD.format("resource_customizations and crds") + CONFIG_MAP + dumped(thing)


def write(folder: Path, things: dict[str, Any]) -> None:
    """These and no others."""
    folder.mkdir(exist_ok=True)
    for left_behind in {each.stem for each in folder.glob("*.yaml")} - things.keys():
        (folder / f"{left_behind}.yaml").unlink()
    for name, thing in things.items():
        (folder / f"{name}.yaml").write_text(HEAD.format("tests/support/builders/health_cases.py") + dumped(thing))


def main() -> None:
    write(MODELS / "testdata", {name: scene.object() for name, scene in HEALTH_CASES.items()})
    write(MODELS / "actions/testdata", dict(AFTER_ACTIONS))
    write(PROFILES / "testdata", {"healthy": PROFILE, "terminating": terminating(PROFILE)})
    (HERE / "argocd-cm.yaml").write_text(config_map())


def terminating(thing: dict[str, Any]) -> dict[str, Any]:
    return {**thing, "metadata": {**thing["metadata"], "deletionTimestamp": "2026-11-21T10:30:00Z"}}


if __name__ == "__main__":
    main()
