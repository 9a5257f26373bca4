"""The files of this repository that tests read: charts, manifests, samples, and the commands of its documents."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHARTS = ROOT / "charts"
RUNBOOKS = ROOT / "runbooks"
CRDS, POLICIES = ROOT / "crds", CHARTS / "slipway-crds/policies"
RUNTIMES, ACCELERATORS = CHARTS / "slipway/runtimes", CHARTS / "slipway/accelerators"
SAMPLES = ROOT / "manifests/samples"
README, GITOPS, QUICKSTART = ROOT / "README.md", ROOT / "docs/gitops.md", ROOT / "docs/quickstart.md"


def documents(folder: Path) -> list[dict[str, Any]]:
    """Returns all objects in the YAML files of a folder."""
    return [thing for file in sorted(folder.glob("*.yaml")) for thing in yaml.safe_load_all(file.read_text()) if thing]


def samples() -> list[Path]:
    """Returns the samples of LLMDeployments; the other samples are of kinds that accompany them."""
    return sorted(file for file in SAMPLES.glob("*.yaml") if "kind: LLMDeployment" in file.read_text())


def rows(name: str) -> list[Any]:
    """Returns a table of objects and of the API server's answers to them, from tests/cluster/specs."""
    table: list[Any] = yaml.safe_load((ROOT / "tests/cluster/specs" / f"{name}.yaml").read_text())
    return table


def commands(document: Path, *, after: str) -> list[str]:
    """Returns the lines of the first shell block that follows these words; each line is one command."""
    _, found, rest = document.read_text().partition(after)
    assert found, f"{document.name} has no {after!r} any more"
    following = blocks(rest)
    assert following, f"{document.name} has no commands after {after!r}"
    return following[0].splitlines()


def blocks(text: str) -> list[str]:
    """Returns the shell blocks of a document."""
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


def in_checkout(folder: Path) -> None:
    """Gives the folder of a page's reader what the commands of pages name of a checkout."""
    for part in (CHARTS, ROOT / "manifests"):
        with suppress(FileExistsError):
            (folder / part.name).symlink_to(part)
