"""docs/reference/fields.md has every field that a user can write or read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from support.repository import ROOT

PAGE = (ROOT / "docs/reference/fields.md").read_text()


def names(schema: Any, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The path of each field, whatever lists and maps are between them."""
    for name, each in schema.get("properties", {}).items():
        yield (*above, name)
        yield from names(each, (*above, name))
    for key in ("items", "additionalProperties"):
        if isinstance(inside := schema.get(key), dict):
            yield from names(inside, above)


def is_in(parts: dict[str, str], path: tuple[str, ...]) -> bool:
    """As a heading, or in the table below the heading of its half or of its first field."""
    rows = [(".".join(path[:at]), ".".join(path[at:])) for at in (1, 2)]
    return ".".join(path) in parts or any(f"| `{rest}` |" in parts.get(heading, "") for heading, rest in rows if rest)


@pytest.mark.parametrize("kind", ["llmdeployments", "acceleratorprofiles"])
def test_every_field_of_a_kind_is_on_the_page(kind: str) -> None:
    crd = yaml.safe_load((ROOT / f"crds/slipway.dev_{kind}.yaml").read_text())
    fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    shown = PAGE.split(f"## {crd['spec']['names']['kind']}\n")[1].split("\n## ")[0]
    plain = re.sub(r"\[\]|\{\}", "", shown)
    parts = dict(re.findall(r"^#+ (?:\w+: |`)([\w.]+)`?[^\n]*\n(.*?)(?=^#|\Z)", plain, re.MULTILINE | re.DOTALL))
    paths = [path for half in ("spec", "status") for path in names(fields[half], (half,))]
    assert len(paths) > 20
    assert not [path for path in paths if not is_in(parts, path)]
