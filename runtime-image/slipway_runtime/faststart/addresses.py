"""The sockets over which the two children meet, and a digest by which they make sure to mean the same engine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

FOLDER = "SLIPWAY_FASTSTART_FOLDER"
"""The variable that gives the children the folder of their sockets."""


@dataclass(frozen=True)
class Addresses:
    """The addresses of the two sockets that the server binds, in a folder that the launcher creates."""

    folder: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        return cls(Path(environment[FOLDER]))

    @property
    def input(self) -> str:
        return f"ipc://{self.folder}/input"

    @property
    def output(self) -> str:
        return f"ipc://{self.folder}/output"


def digest(arguments: object) -> str:
    """Returns a digest of the engine's arguments: unless it is equal in both processes, they must not work together."""
    return hashlib.sha256(repr(arguments).encode()).hexdigest()[:16]
