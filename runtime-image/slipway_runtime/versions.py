"""The versions of installed packages, from the names of their folders.

importlib.metadata knows them, too, but importing it takes as long as everything else before the engine starts.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path


def version_of(*distributions: str, path: Sequence[str] | None = None) -> str:
    """The version of the first distribution that is installed; empty if none is."""
    for distribution in distributions:
        name = distribution.replace("-", "_")
        for folder in sys.path if path is None else path:
            for found in Path(folder or ".").glob(f"{name}-*.dist-info"):
                return found.name.removesuffix(".dist-info").removeprefix(f"{name}-")
    return ""
