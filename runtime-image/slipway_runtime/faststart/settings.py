"""What the launcher and its children are told: as JSON in SLIPWAY_FASTSTART, so that the command keeps vLLM's flags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

ENVIRONMENT = "SLIPWAY_FASTSTART"


@dataclass(frozen=True, kw_only=True)
class FastStartSettings:
    version: str
    """Of vLLM; there is an adapter for it."""
    ordinary: tuple[str, ...]
    """The command that starts vLLM as its makers meant it, for whenever this start fails."""
    flags: tuple[str, ...] = ()
    """Those of the fast start alone; they come after all others."""
    weights: tuple[str, ...] = ()
    """The model's files, in the order in which they are wanted."""
    copy_weights: bool = False
    """Straight to the device, while Python imports; else they are only read into the page cache."""
    cache: str = ""
    """The folder for what vLLM compiles. Empty: wherever vLLM puts it."""
    device: str = ""
    """Whatever the compiled depends on, in words."""
    model: str = ""
    """A digest of what the compiled depends on."""

    def as_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        told: dict[str, Any] = json.loads(environment[ENVIRONMENT])
        lists = {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
        return cls(**{**told, **lists})
