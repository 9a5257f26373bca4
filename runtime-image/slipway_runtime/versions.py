"""The versions of installed packages, read from the names of folders.

importlib.metadata knows them too, but importing it takes as long as everything else that is done before the engine
starts.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path


def version_of(*distributions: str, path: Sequence[str] | None = None) -> str:
    """Returns the version of the first distribution that is installed; an empty string if none is."""
    for distribution in distributions:
        name = distribution.replace("-", "_")
        for folder in sys.path if path is None else path:
            for found in Path(folder or ".").glob(f"{name}-*.dist-info"):
                return found.name.removesuffix(".dist-info").removeprefix(f"{name}-")
    return ""
