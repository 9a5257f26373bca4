"""The commands of the documentation, to be run as they are written there."""

from __future__ import annotations

import re
from pathlib import Path

from support.charts import CHARTS

ROOT = CHARTS.parent
README = ROOT / "README.md"
GITOPS = ROOT / "docs/gitops.md"


def commands(document: Path, *, after: str) -> list[str]:
    """Of the first block for a shell that follows these words; a line each, as none of them is longer."""
    _, found, rest = document.read_text().partition(after)
    assert found, f"{document.name} has no {after!r} any more"
    following = blocks(rest)
    assert following, f"{document.name} has no commands after {after!r}"
    return following[0].splitlines()


def blocks(text: str) -> list[str]:
    """Those for a shell."""
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
