"""Where things are, as whoever installs Slipway says."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.api.names import ACTIVATOR_SERVICE


@dataclass(frozen=True)
class Home:
    namespace: str = "slipway-system"
    activators: tuple[str, ...] = (ACTIVATOR_SERVICE,)  # the Services of its activators there
    prometheus_namespaces: tuple[str, ...] = ("monitoring",)
