"""`status`: the truth about a deployment, as the operator last saw it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from slipway.api import units
from slipway.api.engine import MOST_CONCURRENCY
from slipway.api.kubernetes import keyed
from slipway.api.schema import LIST_TYPE, MAP_TYPE, ReportModel

LONGEST_SYNC = 64
Duration = Annotated[str, Field(max_length=32, pattern=units.DURATION)]


class Condition(ReportModel):
    """One aspect of the deployment, as Kubernetes writes conditions."""

    type: str = Field(max_length=316, description="The aspect, such as Ready or Planned.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(max_length=1024, description="The cause in one word, for programs.")
    message: str = Field(max_length=32768, description="The cause in a sentence, for people.")
    last_transition_time: str = Field(
        description="When its status last changed.", json_schema_extra={"format": "date-time"}
    )
    observed_generation: int = Field(default=0, ge=0, description="The generation of the spec that this is about.")


class ReplicasStatus(ReportModel):
    """How many replicas there are."""

    desired: int = Field(default=0, description="Replicas that should be there now.")
    ready: int = Field(default=0, description="Replicas that answer requests.")
    warming_up: int = Field(default=0, description="Replicas that are on their way.")


class PlannedMemory(ReportModel):
    """How the plan divides one replica's accelerator memory."""

    weights: str | None = Field(default=None, description="What the model's weights take.")
    kv_cache: str | None = Field(default=None, description="What is left for the attention cache.")
    overhead: str | None = Field(
        default=None, description="What the engine itself takes: activations, graphs, buffers."
    )
    budget: str | None = Field(default=None, description="What the engine may use in all.")


class PlanStatus(ReportModel):
    """What will run where, and why."""

    accelerator: str | None = Field(default=None, description="The accelerator profile that was chosen.")
    gpus_per_replica: int | None = Field(default=None, description="Accelerators that one replica takes.")
    memory: PlannedMemory | None = Field(default=None, description="How one replica's accelerator memory is divided.")
    kv_tokens: int | None = Field(default=None, description="Tokens that one replica's attention cache should hold.")
    max_concurrency: int | None = Field(
        default=None, ge=1, le=MOST_CONCURRENCY, description="Requests that one replica works on at a time."
    )
    context_length: int | None = Field(default=None, description="Most tokens of one request.")
    why: list[str] = Field(
        default_factory=list,
        max_length=64,
        description="The reasons for this choice, most important first.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )
    rejected: list[str] = Field(
        default_factory=list,
        max_length=64,
        description="The profiles that were not chosen, each with the reason.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )


class MeasuredStatus(ReportModel):
    """What the engine said of itself, to hold against the plan."""

    kv_tokens: int | None = Field(default=None, description="Tokens that the attention cache really holds.")
    weights: str | None = Field(default=None, description="What the weights really take.")
    decode_tokens_per_second: float | None = Field(default=None, description="Tokens that one replica writes a second.")
    plan_error_percent: float | None = Field(
        default=None, description="How far the plan's number of cache tokens was off, in percent."
    )


class ColdStart(ReportModel):
    """The last start from zero, phase by phase, each as a duration."""

    model_config = ConfigDict(json_schema_extra={MAP_TYPE: "atomic"})  # whoever writes it, replaces all of it

    held: Duration | None = Field(default=None, description="From the first request to its being held.")
    push: Duration | None = Field(default=None, description="Until KEDA was told.")
    scale: Duration | None = Field(default=None, description="Until the number of replicas was raised.")
    schedule: Duration | None = Field(default=None, description="Until the pod had a node.")
    pull: Duration | None = Field(default=None, description="Until the images were on the node.")
    start: Duration | None = Field(default=None, description="Until the container ran.")
    import_: Duration | None = Field(default=None, alias="import", description="Until the engine's code was loaded.")
    load: Duration | None = Field(default=None, description="Until the weights were in memory.")
    compile: Duration | None = Field(default=None, description="Until kernels and graphs were ready.")
    ready: Duration | None = Field(default=None, description="Until the pod counted as ready.")
    first_token: Duration | None = Field(default=None, description="Until the client had its first token.")


class CostStatus(ReportModel):
    """What it costs, by the profiles' prices."""

    per_hour: float | None = Field(default=None, description="Cost of the replicas that run now, for one hour.")
    per_million_tokens: float | None = Field(
        default=None, description="Cost of a million tokens at the measured speed."
    )


class MadeStatus(ReportModel):
    """What made the model's pods. A newer Slipway doesn't make them anew by itself."""

    version: str = Field(default="", max_length=64, description="The version of Slipway that made them.")
    spec: str = Field(default="", max_length=64, description="The digest of what of the spec concerns them.")
    pods: str = Field(default="", max_length=64, description="The digest of what was asked of KServe for them.")
    sync: str = Field(
        default="", max_length=LONGEST_SYNC, description="The annotation slipway.dev/sync, as it was then."
    )
    accelerator: str = Field(default="", max_length=63, description="The AcceleratorProfile of the plan then.")
    gpus_per_replica: int = Field(default=0, ge=0, description="Accelerators of each replica, by that plan.")
    max_concurrency: int | None = Field(default=None, ge=0, description="Requests that a replica takes, by that plan.")


class UpdateStatus(ReportModel):
    """What this version of Slipway would make differently. The annotation slipway.dev/sync asks for it."""

    version: str = Field(default="", max_length=64, description="The version of Slipway that is there.")
    changes: list[str] = Field(
        default_factory=list,
        max_length=32,
        description="What would change in the pods, or in how they are made.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )


class LLMDeploymentStatus(ReportModel):
    """The truth about the deployment, as the operator last saw it."""

    observed_generation: int = Field(default=0, ge=0, description="The generation of the spec that this is about.")
    state: Literal["Idle", "Waking", "Serving", "Updating", "Degraded", "Failed"] | None = Field(
        default=None, description="The state in one word. Idle, at zero replicas, is healthy."
    )
    message: str = Field(default="", description="What is happening, or what went wrong, in a sentence.")
    url: str | None = Field(default=None, description="Where requests go, within the cluster or through the Gateway.")
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=32,
        description="Ready (a request now would be answered, if need be after a wake), Planned, ModelLoaded, Scaled, "
        "Reachable, Reconciling and Stalled.",
        json_schema_extra=keyed("type"),
    )
    replicas: ReplicasStatus = Field(default_factory=ReplicasStatus, description="How many replicas there are.")
    plan: PlanStatus | None = Field(default=None, description="What will run where, and why.")
    measured: MeasuredStatus | None = Field(default=None, description="What was measured, to hold against the plan.")
    last_cold_start: ColdStart | None = Field(default=None, description="The last start from zero, phase by phase.")
    made: MadeStatus | None = Field(default=None, description="What made its pods.")
    update: UpdateStatus | None = Field(
        default=None, description="What a newer Slipway would make differently, once it is asked to."
    )
    cost: CostStatus | None = Field(default=None, description="What it costs, by the accelerator profiles' prices.")
