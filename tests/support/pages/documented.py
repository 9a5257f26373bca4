"""The blocks of docs/ and the README: what each is, and by which test it is executed.

Each YAML block is one of `Kind`, and is given to what reads such YAML. Commands are run in the order of their page, if
the page is in `RUN`. docs/not-executed.yaml has the others, each with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Any

import yaml

from support.pages import markdown
from support.pages.markdown import Block
from support.repository import CHARTS, CRDS, ROOT

NOT_EXECUTED = ROOT / "docs/not-executed.yaml"
COMMANDS = ("sh", "console", "bash", "shell")
NOT_FOR_EXECUTION = frozenset({"text", "mermaid", "", "python", "promql", "json"})
"""Drawings and output; the Python is a test of the suite; the PromQL of the reference is what promtool tests."""
LEFT_OUT = "…"


class Kind(Enum):
    OBJECTS = auto()
    """Complete objects: the API server accepts them."""
    SPEC = auto()
    """A part of a spec: the API server accepts it in an object of the kind."""
    VALUES = auto()
    """Values of the chart: helm renders it with them."""
    STATUS = auto()
    """A part of a status: the CRD has its fields."""
    PROMETHEUS = auto()
    """The configuration of a Prometheus: promtool accepts it."""


RUN = frozenset(
    f"docs/{name}.md"
    for name in ("accelerators", "access", "compile-cache", "guides/platforms", "scaling", "sleeping", "upgrades")
)
"""The pages whose commands tests/cluster/test_documented.py runs, with a model at zero and the repository's files."""


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(block: Block) -> str:
    return str(block.page.relative_to(ROOT))


def blocks(*languages: str) -> list[Block]:
    found = [block for page in pages() for block in markdown.read(page).blocks]
    return [block for block in found if not languages or block.language in languages]


def not_executed() -> dict[str, list[dict[str, str]]]:
    """By page: how a block begins (`block`), and why it isn't executed (`why`), or which other test executes it (`by`,
    as FILE::FUNCTION)."""
    found: dict[str, list[dict[str, str]]] = yaml.safe_load(NOT_EXECUTED.read_text()) or {}
    return found


def first_line(block: Block) -> str:
    return block.text.splitlines()[0].strip()


def is_listed(block: Block) -> bool:
    return any(first_line(block).startswith(each["block"]) for each in not_executed().get(name_of(block), []))


def commands_of(page: str) -> list[Block]:
    """The blocks of a page that are run, in its order."""
    return [each for each in blocks(*COMMANDS) if name_of(each) == page and not is_listed(each)]


# --- YAML ------------------------------------------------------------------------------------------------------------

NAMES = ("llmdeployments", "acceleratorprofiles")
KINDS = {name: yaml.safe_load((CRDS / f"slipway.dev_{name}.yaml").read_text()) for name in NAMES}
VALUES = yaml.safe_load((CHARTS / "slipway/values.yaml").read_text())
MINIMAL: Mapping[str, dict[str, Any]] = {
    "llmdeployments": {"model": {"uri": "pvc://models/llama"}},
    "acceleratorprofiles": {"vendor": "NVIDIA", "resource": {"name": "nvidia.com/gpu"}, "memory": "24Gi"},
}
"""A spec to which a part is added, so that it is complete."""


def kind_of(block: Block) -> Kind | None:
    """None: it is none of them, and must be in the list, or written differently."""
    documents = [each for each in yaml.safe_load_all(block.text) if each is not None]
    if not documents or not all(isinstance(each, dict) for each in documents):
        return None
    if all("kind" in each and "apiVersion" in each for each in documents):
        return Kind.OBJECTS
    [whole] = documents if len(documents) == 1 else [{}]
    if {*whole} == {"spec"} and any(_fits(whole["spec"], name) for name in KINDS):
        return Kind.SPEC
    if {*whole} == {"status"} or (whole and whole.keys() <= _properties("llmdeployments", "status").keys()):
        return Kind.STATUS
    if "scrape_configs" in whole:
        return Kind.PROMETHEUS
    return Kind.VALUES if whole and whole.keys() <= VALUES.keys() else None


def objects_in(block: Block) -> list[dict[str, Any]]:
    """Complete objects, of a part of a spec, too."""
    documents = [each for each in yaml.safe_load_all(block.text) if each is not None]
    if kind_of(block) is Kind.OBJECTS:
        return documents
    [spec] = [each["spec"] for each in documents]
    name = next(name for name in KINDS if _fits(spec, name))
    crd = KINDS[name]["spec"]
    return [
        {
            "apiVersion": f"{crd['group']}/{crd['versions'][0]['name']}",
            "kind": crd["names"]["kind"],
            "metadata": {"name": "documented"},
            "spec": _merged(MINIMAL[name], spec),
        }
    ]


def unknown_in_status(block: Block) -> list[str]:
    """The fields of a status that the CRD doesn't have."""
    [whole] = [each for each in yaml.safe_load_all(block.text) if each is not None]
    return [*_unknown(whole.get("status", whole), {"properties": _properties("llmdeployments", "status")}, "status")]


def _unknown(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _unknown(each, schema.get("items", {}), f"{path}[]")
    if isinstance(value, dict) and "properties" in schema:
        for name, each in value.items():
            if name in schema["properties"]:
                yield from _unknown(each, schema["properties"][name], f"{path}.{name}")
            elif name != LEFT_OUT:
                yield f"{path}.{name}"


def _fits(spec: Mapping[str, Any], kind: str) -> bool:
    return isinstance(spec, dict) and spec.keys() <= _properties(kind, "spec").keys()


def _properties(kind: str, half: str) -> dict[str, Any]:
    whole = KINDS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    found: dict[str, Any] = whole[half]["properties"]
    return found


def _merged(base: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: _merged(base[name], each) for name, each in part.items() if isinstance(base.get(name), dict)}
    return {**base, **part, **both}
