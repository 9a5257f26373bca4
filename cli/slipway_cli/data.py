"""The files that come with the distribution. In a checkout, they are where their source is."""

from __future__ import annotations

from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
PLACES = {"accelerators": "charts/slipway/accelerators", "runbooks": "runbooks"}
"""By the name of the folder in the wheel, where it is in the repository."""


@cache
def folder(name: str) -> Path:
    packaged = HERE / "data" / name
    return packaged if packaged.is_dir() else HERE.parents[1] / PLACES[name]
