"""The Plan: what will run where, and why. It goes into the status, and everything that is rendered follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slipway.api.reasons import Reason
from slipway.models.facts import Evidence
from slipway.objects.kinds import Object


@dataclass(frozen=True, kw_only=True)
class Memory:
    """How the memory of one device is divided, in bytes. For CPUs, the device is the memory limit of the container."""

    total: int  # as the engine counts it
    budget: int  # what the engine may use of it
    weights: int
    activation: int  # the peak of one step, the sampler's included
    other: int  # the driver's and the libraries' own
    graphs: int  # CUDA graphs, as far as they are within the budget
    outside: int  # what is in use besides the budget once the engine is ready
    kv_cache: int  # what is left, or what the spec sets
    evidence: Mapping[str, Evidence] = field(default_factory=dict)  # by the names above

    @property
    def overhead(self) -> int:
        return self.activation + self.other + self.graphs


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What one replica is expected to do, from the device's bandwidth and compute and measured efficiencies."""

    time_per_token: float  # seconds, for a single request
    time_per_token_at_concurrency: float  # seconds, with all planned requests running
    prefill_tokens_per_second: float
    tokens_per_second: float  # generated, at the planned concurrency
    cost_per_million_tokens: float | None  # of generated tokens at that speed; None: the profile has no price
    formula: str  # one sentence with the numbers that were put in

    def time_to_first_token(self, prompt: int) -> float:
        """Seconds for a prompt of that many tokens, without waiting."""
        return prompt / self.prefill_tokens_per_second + self.time_per_token


@dataclass(frozen=True, kw_only=True)
class Plan:
    engine: str
    runtime: str  # the (Cluster)ServingRuntime
    profile: str = ""  # empty: the ServingRuntime itself says what it needs
    vendor: str = ""
    tensor: int = 1  # tensor parallelism: accelerators that split each layer
    pipeline: int = 1  # pipeline parallelism: groups of accelerators with consecutive layers
    gpus_per_replica: int = 0

    task: str = ""  # what the model is for: a Task; empty: unknown

    # --- what the engine gets -----------------------------------------------------------------------------------------
    max_concurrency: int | None = None  # concurrent requests of a replica; None: only its engine knows
    context_length: int | None = None  # tokens of one request; None: the engine's own choice
    kv_cache_bytes: int | None = None  # of one device; None: the engine measures what is left
    weights_bytes: int | None = None  # of one device, as the engine will hold them; None: unknown
    files_bytes: int | None = None  # of the checkpoint's weights, as they are stored; None: unknown
    sized_by: int | None = None  # bytes of the cache that decide kv_cache_bytes, context_length and max_concurrency
    memory_share: float | None = None  # of a device that replicas share; None: the engine's own default

    # --- what Kubernetes gets -----------------------------------------------------------------------------------------
    resources: dict[str, dict[str, str]] = field(default_factory=dict)  # requests and limits
    node_terms: tuple[Mapping[str, str], ...] = ()  # a node must have all labels of any one; empty: any node
    excluded_nodes: tuple[Mapping[str, str], ...] = ()  # a node with all labels of any one is never used
    node_selector: dict[str, str] = field(default_factory=dict)  # labels that every node must have besides
    tolerations: list[Object] = field(default_factory=list)
    runtime_class: str | None = None
    device_class: str | None = None  # devices are claimed of this DeviceClass instead of requested as a resource
    shared_memory: int | None = None  # bytes of /dev/shm; None: the runtime's own
    start_limit: float | None = None  # seconds after which a start has failed; None: the runtime's own

    key: str = ""  # a digest of what decides how much memory the engine takes; pods carry it as an annotation

    # --- what is said about it ----------------------------------------------------------------------------------------
    memory: Memory | None = None  # None: unknown, because the model or the device is
    kv_tokens: int | None = None  # of one replica
    concurrent_at_full_length: float | None = None
    speed: Speed | None = None
    why: tuple[str, ...] = ()  # one sentence for each decision
    rejected: tuple[str, ...] = ()  # why no other profile was chosen
    warnings: tuple[str, ...] = ()  # what the user should know before it runs, such as a target that it won't meet


@dataclass(frozen=True)
class Unplannable:
    """There is no plan; the message is one sentence with the remedy."""

    reason: Reason
    message: str
    rejected: tuple[str, ...] = ()
