"""Builds the site of the documentation, as `make docs` does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.repository import ROOT


def built(into: Path) -> Path:
    """Returns the folder of the site. A link that leads nowhere, or a page in no menu, is an error."""
    command = [sys.executable, str(ROOT / "website/build.py"), f"--into={into}"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return into
