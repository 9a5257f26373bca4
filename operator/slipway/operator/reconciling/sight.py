"""What is known of one LLMDeployment at one moment: all that deciding needs, and nothing that changes meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.names import ACTIVATOR_SERVICE
from slipway.kube.kinds import Kind, Object
from slipway.observing.porttable import Claim, claim_of
from slipway.observing.world import WorldView
from slipway.operator.reconciling.ports import Place


@dataclass(frozen=True, kw_only=True)
class Sight:
    """The whole world of one LLMDeployment. Nothing that is decided needs more."""

    raw: Object  # the LLMDeployment, as the API server has it
    previous: Object | None  # its status, as it was last written
    view: WorldView
    profiles: tuple[AcceleratorProfile, ...]
    runtime: Callable[[str], Object | None]  # the (Cluster)ServingRuntime of that name
    activators: Mapping[str, tuple[str, ...]]
    """By their Services, those that are installed, and where their replicas are."""
    place: Place | None  # where its requests come in at the activator
    has_no_port: str = ""  # why it can't get one
    activator_reads_keys: bool | None = None  # whether it may read access.apiKeysSecret; None: nobody knows
    kinds: frozenset[Kind]  # of those that others bring along, the ones that the cluster has

    @property
    def claim(self) -> Claim:
        return claim_of(self.raw)

    @property
    def activator(self) -> tuple[str, ...] | None:
        """Where the replicas of the activator are that has its port. None: none is installed."""
        return self.activators.get(self.activator_service)

    @property
    def activator_service(self) -> str:
        """Of the activator that has its port; as long as it has none, of the first that is installed."""
        return self.place.activator if self.place else next(iter(self.activators), ACTIVATOR_SERVICE)

    @property
    def uid(self) -> str:
        return str(self.raw["metadata"]["uid"])

    @property
    def generation(self) -> int:
        return int(self.raw["metadata"].get("generation") or 0)
