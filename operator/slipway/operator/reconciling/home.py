"""Where things are, as whoever installs Slipway says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slipway.api.names import ACTIVATOR_SERVICE
from slipway.kube.kinds import Object


@dataclass(frozen=True)
class Home:
    namespace: str = "slipway-system"
    activators: tuple[str, ...] = (ACTIVATOR_SERVICE,)  # the Services of its activators there
    prometheus_namespaces: tuple[str, ...] = ("monitoring",)
    version: str = ""  # of Slipway itself
    runtimes: Mapping[str, Object] = field(default_factory=dict)  # its ClusterServingRuntimes, as plans call them
    watched: tuple[str, ...] = ()  # the namespaces whose models are ours; without any, all
