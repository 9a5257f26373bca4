"""What the flags of the operator say about the installation that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slipway.api.names import ACTIVATOR_SERVICE
from slipway.objects.kinds import Object


@dataclass(frozen=True)
class Installation:
    namespace: str = "slipway-system"
    activators: tuple[str, ...] = (ACTIVATOR_SERVICE,)  # their Services in that namespace, in the order of use
    prometheus_namespaces: tuple[str, ...] = ("monitoring",)  # whose pods may read metrics
    version: str = ""  # of Slipway
    runtimes: Mapping[str, Object] = field(default_factory=dict)  # this release's ClusterServingRuntimes, by plan name
    watched: tuple[str, ...] = ()  # the namespaces whose models are ours; empty: all
