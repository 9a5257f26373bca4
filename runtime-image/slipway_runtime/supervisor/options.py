"""How process 1 does its work, whatever the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slipway_runtime.contract.pod import RUNTIME_PORT

from .drain import Patience


@dataclass(frozen=True, kw_only=True)
class Options:
    patience: Patience = field(default_factory=Patience)
    host: str = "0.0.0.0"  # noqa: S104 - the kubelet asks from outside
    port: int = RUNTIME_PORT
    stuck_after: float = 24.0  # with a look and its answer, an engine that got stuck is found within 30
    only_warm: bool = False  # ends as soon as it is ready: its caches are full then
    about: Mapping[str, object] = field(default_factory=dict)  # for /info
