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
    tensor: int = 1  # tensor parallelism: accelerators that split each layer
    pipeline: int = 1  # pipeline parallelism: groups of accelerators with consecutive layers
    gpus_per_replica: int = 0
    max_concurrency: int | None = None  # concurrent requests of a replica; None: only its engine knows
    resources: dict[str, dict[str, str]] = field(default_factory=dict)  # requests and limits
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: list[Object] = field(default_factory=list)
    runtime_class: str | None = None
    why: tuple[str, ...] = ()  # one sentence for each decision
    rejected: tuple[str, ...] = ()  # one sentence for each profile that was not chosen


@dataclass(frozen=True)
class Unplannable:
    """There is no plan; the message is one sentence with the remedy."""

    reason: Reason
    message: str
