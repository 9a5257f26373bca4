"""What is known of one LLMDeployment at one moment: all that deciding needs, and nothing that changes meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.kube.kinds import Kind, Object
from slipway.observing.world import WorldView


@dataclass(frozen=True, kw_only=True)
class Sight:
    """The whole world of one LLMDeployment. Nothing that is decided needs more."""

    raw: Object  # the LLMDeployment, as the API server has it
    previous: Object | None  # its status, as it was last written
    view: WorldView
    profiles: tuple[AcceleratorProfile, ...]
    runtime: Callable[[str], Object | None]  # the (Cluster)ServingRuntime of that name
    activator: tuple[str, ...] | None  # where its replicas are; None: it isn't installed
    activator_port: int | None  # of this deployment
    activator_reads_keys: bool | None = None  # whether it may read access.apiKeysSecret; None: nobody knows
    kinds: frozenset[Kind]  # of those that others bring along, the ones that the cluster has

    @property
    def uid(self) -> str:
        return str(self.raw["metadata"]["uid"])

    @property
    def generation(self) -> int:
        return int(self.raw["metadata"].get("generation") or 0)
