"""The Plan: what will run where, and why. It goes into the status, and everything that is rendered follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from slipway.api.reasons import Reason
from slipway.objects.kinds import Object


@dataclass(frozen=True, kw_only=True)
class Plan:
    engine: str
    runtime: str  # the (Cluster)ServingRuntime
    profile: str = ""  # empty: the ServingRuntime itself says what it needs
    vendor: str = ""
    tensor: int = 1  # accelerators that share each layer
    pipeline: int = 1  # groups of them that take layers in turn
    gpus_per_replica: int = 0
    max_concurrency: int | None = None  # requests that a replica works on at a time; None: its engine alone knows
    resources: dict[str, dict[str, str]] = field(default_factory=dict)  # requests and limits
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: list[Object] = field(default_factory=list)
    runtime_class: str | None = None
    why: tuple[str, ...] = ()  # one sentence for each thing that was decided
    rejected: tuple[str, ...] = ()  # one for each profile that was not taken


@dataclass(frozen=True)
class Unplannable:
    """There is no plan; the message is one sentence with the remedy."""

    reason: Reason
    message: str
