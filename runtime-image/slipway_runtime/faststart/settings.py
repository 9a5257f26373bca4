"""The settings of the launcher and its children, as JSON in SLIPWAY_FASTSTART, so that the command line is vLLM's
alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

ENVIRONMENT = "SLIPWAY_FASTSTART"
IMPORT_CACHE = "SLIPWAY_IMPORT_CACHE"
"""The variable with the prefix of the paths of what imports find out."""


@dataclass(frozen=True, kw_only=True)
class FastStartSettings:
    version: str
    """The version of vLLM, for which there is an adapter."""
    ordinary: tuple[str, ...]
    """The command that starts vLLM in its own way, in case this start fails."""
    flags: tuple[str, ...] = ()
    """Flags that the fast start adds; they come after all others."""
    weights: tuple[str, ...] = ()
    """The model's files, in the order in which they are needed."""
    copy_weights: bool = False
    """Copy them to the device while Python imports modules; otherwise they are only read into the page cache."""
    device: str = ""
    """The device that the engine computes on, in words."""

    def as_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        told: dict[str, Any] = json.loads(environment[ENVIRONMENT])
        lists = {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
        return cls(**{**told, **lists})
