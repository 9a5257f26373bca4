"""Pages of metrics of real engines, recorded for the tests of rules: RECORD_EXPOSITIONS=1 writes them again."""

from __future__ import annotations

import os
from pathlib import Path

from support.repository import ROOT

FOLDER = ROOT / "monitoring/expositions"
RECORD = "RECORD_EXPOSITIONS"


def record(name: str, page: str) -> Path | None:
    """Writes a page if that is wanted; `name` has the engine and its version."""
    if not os.environ.get(RECORD):
        return None
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{name}.txt"
    file.write_text(page)
    return file
