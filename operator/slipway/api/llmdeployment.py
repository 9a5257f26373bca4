"""`LLMDeployment`: a language model to be served, in one small object."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from slipway.api import mounts, pod_annotations, variables
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
    SYNC_ANNOTATION,
)
from slipway.api.pod import PodSpecExtras
from slipway.api.rollout import CanarySpec, RolloutSpec
from slipway.api.scaling import HoldSpec, ScalingSpec, ScheduleEntry, TargetSpec
from slipway.api.schema import LIST_TYPE, ApiModel, ObjectName, ReportModel, Rule, cel, rules
from slipway.api.status import LONGEST_SYNC, Condition, LLMDeploymentStatus

__all__ = [
    "AcceleratorSpec",
    "AccessSpec",
    "Adapter",
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
    "SpeculativeSpec",
    "TargetSpec",
    "TracingSpec",
]


class AcceleratorSpec(ApiModel):
    """What the model may run on."""

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
                    message="a profile is named twice: name each once",
                )
            ),
        },
    )
    policy: Literal["Cheapest", "Fastest", "InOrder"] = Field(
        default="Cheapest", description="Which of those that fit is taken; InOrder takes the first."
    )
    spot: Literal["Never", "Allowed", "Required"] = Field(
        default="Never", description="Whether nodes may be used that the provider can take back at any time."
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
    """What is wanted."""

    model: ModelSpec = Field(description="Which model, and where its files are.")
    engine: EngineSpec = Field(default_factory=EngineSpec, description="What runs the model, and how.")
    accelerator: AcceleratorSpec = Field(
        default_factory=AcceleratorSpec, description="What it may run on; by default the cheapest that fits."
    )
    scaling: ScalingSpec = Field(
        default_factory=ScalingSpec, description="How many replicas, when none, and who waits meanwhile."
    )
    rollout: RolloutSpec = Field(
        default_factory=RolloutSpec, description="How a new version takes the place of the old one."
    )
    access: AccessSpec = Field(default_factory=AccessSpec, description="Who may ask the model, and from where.")
    observability: ObservabilitySpec = Field(
        default_factory=ObservabilitySpec, description="Who sees how the model does: metrics and traces."
    )
    pod: PodSpecExtras = Field(
        default_factory=PodSpecExtras, description="What else the pods should have: labels, environment, volumes."
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        variables.LET_THROUGH,
        mounts.FREE_PLACES,
        pod_annotations.LET_THROUGH,
    )


class LLMDeployment(ReportModel):
    """A language model to be served."""

    api_version: Literal["slipway.dev/v1alpha1"] = API_VERSION
    kind: Literal["LLMDeployment"] = KIND
    metadata: ObjectMeta
    spec: LLMDeploymentSpec = Field(description="What is wanted.")
    status: LLMDeploymentStatus | None = Field(
        default=None, description="What is there, written by the operator alone."
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.spec.engine.adapters) || self.spec.engine.adapters.all(adapter, adapter.name != "
            "(has(self.spec.model.servedName) ? self.spec.model.servedName : self.metadata.name))",
            message="an adapter has the name that the model itself is served under: give it another",
            at=".spec.engine.adapters",
        ),
        Rule(
            rule="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            message="the name must begin with a letter and have only lower-case letters, digits and '-', because "
            "Services are named after it",
        ),
        Rule(
            rule=f"size(self.metadata.name) <= {MAX_NAME_LENGTH}",
            message=f"the name must have {MAX_NAME_LENGTH} characters at most, because KServe appends '-predictor' "
            "to it for a Service, which may have 63",
        ),
        Rule(
            rule=f"!{cel([*RESERVED_ENDINGS, *OUR_ENDINGS])}.exists(ending, self.metadata.name.endsWith(ending))",
            message=f"a name that ends in {', '.join([*RESERVED_ENDINGS, *OUR_ENDINGS][:-1])} or {OUR_ENDINGS[-1]} "
            "is that of a part of another deployment: choose another",
        ),
        Rule(
            rule=f"!self.metadata.name.startsWith({cel(KEDA_S_BEGINNING)})",
            message=f"a name that begins with {KEDA_S_BEGINNING} is the one that KEDA gives to the autoscaler of "
            "another deployment: choose another",
        ),
    )

    @property
    def is_paused(self) -> bool:
        """Whether its number of replicas is to stay as it is."""
        return self.metadata.annotations.get(PAUSED_ANNOTATION) == "true"

    @property
    def sync(self) -> str:
        """Whatever was written there last, as far as the status has room for it."""
        return self.metadata.annotations.get(SYNC_ANNOTATION, "")[:LONGEST_SYNC]

    @property
    def served_name(self) -> str:
        """What clients send as "model"."""
        return self.spec.model.served_name or self.metadata.name
