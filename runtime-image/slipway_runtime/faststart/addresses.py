"""Where the two children meet, and whether they mean the same engine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

FOLDER = "SLIPWAY_FASTSTART_FOLDER"
"""The variable by which the launcher tells its children the folder of their sockets."""


@dataclass(frozen=True)
class Addresses:
    """Of the two sockets that the server binds; they lie in a folder that the launcher makes."""

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
    """Of the engine's arguments: equal in both processes, or they must not work together."""
    return hashlib.sha256(repr(arguments).encode()).hexdigest()[:16]
