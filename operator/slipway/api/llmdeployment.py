"""`LLMDeployment`: a language model to serve, in one small object."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from slipway.api import mounts, pod_annotations, tasks, variables
from slipway.api.asked import moment
from slipway.api.engine import Adapter, EngineSpec, ParallelismSpec, SpeculativeSpec
from slipway.api.exposure import (
    AccessSpec,
    GatewaySpec,
    ObservabilitySpec,
    ParentReference,
    Peer,
    RateLimit,
    TracingSpec,
)
from slipway.api.kubernetes import ObjectMeta
from slipway.api.model import ModelCache, ModelFacts, ModelSpec
from slipway.api.names import (
    API_VERSION,
    KEDA_S_BEGINNING,
    KIND,
    MAX_NAME_LENGTH,
    OUR_ENDINGS,
    PAUSED_ANNOTATION,
    RESERVED_ENDINGS,
    RESTART_ANNOTATION,
    SYNC_ANNOTATION,
)
from slipway.api.pod import PodSpecExtras
from slipway.api.rollout import CanarySpec, RolloutSpec
from slipway.api.scaling import HoldSpec, ScalingSpec, ScheduleEntry, TargetSpec
from slipway.api.schema import LIST_TYPE, ApiModel, ObjectName, ReportModel, Rule, cel, rules
from slipway.api.slo import SloSpec
from slipway.api.spending import NEEDS_KEDA, BudgetSpec
from slipway.api.status import LONGEST_SYNC, Condition, LLMDeploymentStatus

__all__ = [
    "AcceleratorSpec",
    "AccessSpec",
    "Adapter",
    "BudgetSpec",
    "CanarySpec",
    "Condition",
    "EngineSpec",
    "GatewaySpec",
    "HoldSpec",
    "LLMDeployment",
    "LLMDeploymentSpec",
    "LLMDeploymentStatus",
    "ModelCache",
    "ModelFacts",
    "ModelSpec",
    "ObservabilitySpec",
    "ParallelismSpec",
    "ParentReference",
    "Peer",
    "PodSpecExtras",
    "RateLimit",
    "RolloutSpec",
    "ScalingSpec",
    "ScheduleEntry",
    "SloSpec",
    "SpeculativeSpec",
    "TargetSpec",
    "TracingSpec",
]


class AcceleratorSpec(ApiModel):
    """The accelerators that the model may run on."""

    profiles: list[ObjectName] = Field(
        default_factory=list,
        max_length=32,
        description="AcceleratorProfiles that may be used, best first; by default all. `kubectl get "
        "acceleratorprofiles` lists them.",
        json_schema_extra={
            LIST_TYPE: "atomic",
            **rules(
                Rule(
                    rule="self.all(profile, self.filter(other, other == profile).size() == 1)",
                    message="a profile is listed twice: list each profile once",
                )
            ),
        },
    )
    policy: Literal["Cheapest", "Fastest", "InOrder"] = Field(
        default="Cheapest", description="Which profile is chosen of those that fit; InOrder chooses the first."
    )
    spot: Literal["Never", "Allowed", "Required"] = Field(
        default="Never", description="Whether to use spot nodes, which the provider can take back at any time."
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.policy != 'InOrder' || (has(self.profiles) && size(self.profiles) > 0)",
            message="policy InOrder needs an order: list the profiles, best first, or choose Cheapest or Fastest",
            at=".profiles",
            why="FieldValueRequired",
        ),
    )


class LLMDeploymentSpec(ApiModel):
    """The desired state."""

    model: ModelSpec = Field(description="The model, and where its files are.")
    engine: EngineSpec = Field(
        default_factory=EngineSpec, description="The engine that runs the model, and its settings."
    )
    accelerator: AcceleratorSpec = Field(
        default_factory=AcceleratorSpec,
        description="The accelerators that it may run on; by default the cheapest that fits.",
    )
    scaling: ScalingSpec = Field(
        default_factory=ScalingSpec,
        description="The number of replicas, when there is none, and which requests wait meanwhile.",
    )
    slo: SloSpec | None = Field(
        default=None, description="Service level objectives, which alerts watch; changing them restarts nothing."
    )
    rollout: RolloutSpec = Field(default_factory=RolloutSpec, description="How a new version replaces the old one.")
    access: AccessSpec = Field(
        default_factory=AccessSpec, description="Which clients may use the model, and from where."
    )
    observability: ObservabilitySpec = Field(
        default_factory=ObservabilitySpec, description="Where metrics and traces go."
    )
    pod: PodSpecExtras = Field(
        default_factory=PodSpecExtras, description="Additional settings of the pods: labels, environment, volumes."
    )
    budget: BudgetSpec | None = Field(
        default=None, description="What the model may cost, and what happens once that is spent."
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        variables.LET_THROUGH,
        mounts.FREE_PLACES,
        pod_annotations.LET_THROUGH,
        NEEDS_KEDA,
        *tasks.RULES,
    )


class LLMDeployment(ReportModel):
    """A language model to serve."""

    api_version: Literal["slipway.dev/v1alpha1"] = API_VERSION
    kind: Literal["LLMDeployment"] = KIND
    metadata: ObjectMeta
    spec: LLMDeploymentSpec = Field(description="The desired state.")
    status: LLMDeploymentStatus | None = Field(
        default=None, description="The observed state, written only by the operator."
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.spec.engine.adapters) || self.spec.engine.adapters.all(adapter, adapter.name != "
            "(has(self.spec.model.servedName) ? self.spec.model.servedName : self.metadata.name))",
            message="an adapter has the served name of the model itself: give the adapter another name",
            at=".spec.engine.adapters",
        ),
        Rule(
            rule="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            message="the name must start with a letter and have only lower-case letters, digits and '-', because "
            "Services are named after it",
        ),
        Rule(
            rule=f"size(self.metadata.name) <= {MAX_NAME_LENGTH}",
            message=f"the name must have at most {MAX_NAME_LENGTH} characters, because KServe appends '-predictor' to "
            "it for a Service, whose name may have 63",
        ),
        Rule(
            rule=f"!{cel([*RESERVED_ENDINGS, *OUR_ENDINGS])}.exists(ending, self.metadata.name.endsWith(ending))",
            message=f"a name that ends in {', '.join([*RESERVED_ENDINGS, *OUR_ENDINGS][:-1])} or {OUR_ENDINGS[-1]} "
            "is reserved for objects of another deployment: choose another name",
        ),
        Rule(
            rule=f"!self.metadata.name.startsWith({cel(KEDA_S_BEGINNING)})",
            message=f"a name that starts with {KEDA_S_BEGINNING} is reserved for autoscalers that KEDA creates: choose "
            "another name",
        ),
    )

    @property
    def is_paused(self) -> bool:
        """Whether the number of replicas must stay as it is."""
        return self.metadata.annotations.get(PAUSED_ANNOTATION) == "true"

    @property
    def sync(self) -> str:
        """The value of the sync annotation, cut to the length that the status stores."""
        return self.metadata.annotations.get(SYNC_ANNOTATION, "")[:LONGEST_SYNC]

    @property
    def restart(self) -> str:
        """The time at which a restart of the pods was requested last; empty: never, or the value isn't a time."""
        text = self.metadata.annotations.get(RESTART_ANNOTATION)
        return text if text and moment(text) else ""

    @property
    def served_name(self) -> str:
        """The name that clients send as "model"."""
        return self.spec.model.served_name or self.metadata.name
