"""Puts the pure packages of the operator, the chart's accelerator profiles and the runbooks into the wheel.

They have one source, elsewhere in the repository: a wheel has copies, and so has an sdist, from which a wheel can be
built without the repository. An editable installation has none, and finds them in the checkout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PARTS = {
    "operator/slipway/__init__.py": "slipway/__init__.py",
    "operator/slipway/api": "slipway/api",
    "operator/slipway/contract": "slipway/contract",
    "operator/slipway/models": "slipway/models",
    "operator/slipway/objects": "slipway/objects",
    "operator/slipway/observing": "slipway/observing",
    "operator/slipway/operator/__init__.py": "slipway/operator/__init__.py",
    "operator/slipway/operator/installation.py": "slipway/operator/installation.py",
    "operator/slipway/operator/planning": "slipway/operator/planning",
    "operator/slipway/operator/rendering": "slipway/operator/rendering",
    "charts/slipway/accelerators": "slipway_cli/data/accelerators",
    "runbooks": "slipway_cli/data/runbooks",
}
"""Where each part is in the repository → where it is in the wheel."""

COPIED = "repository"  # the folder of an sdist that has the parts
LEFT_OUT = ("__pycache__", ".pyc")


class Parts(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        here = Path(self.root)
        copied = here / COPIED
        home = copied if copied.is_dir() else here.parent
        is_sdist = self.target_name == "sdist"
        for source, target in PARTS.items():
            for file in _files(home / source):
                below = file.relative_to(home / source).as_posix()
                place = f"{COPIED}/{source}" if is_sdist else target
                build_data["force_include"][str(file)] = place if below == "." else f"{place}/{below}"


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    files = sorted(file for file in place.rglob("*") if file.is_file())
    if not files:
        raise FileNotFoundError(f"{place} has no files: build slipway-cli in a checkout of Slipway, or from its sdist")
    return [file for file in files if not any(part in str(file) for part in LEFT_OUT)]
