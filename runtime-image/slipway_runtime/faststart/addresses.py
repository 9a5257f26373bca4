"""Where the two children meet, and whether they mean the same engine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Addresses:
    """Of the two sockets that the server binds; they lie in a folder that the launcher makes."""

    folder: Path

    @property
    def input(self) -> str:
        return f"ipc://{self.folder}/input"

    @property
    def output(self) -> str:
        return f"ipc://{self.folder}/output"


def digest(arguments: object) -> str:
    """Of the engine's arguments: equal in both processes, or they must not work together."""
    return hashlib.sha256(repr(arguments).encode()).hexdigest()[:16]
