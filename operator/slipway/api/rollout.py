"""`spec.rollout`: how a new version takes the place of the old one."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.schema import LIST_TYPE, ApiModel, ObjectName, Rule, duration_within, rules


class CanaryStep(ApiModel):
    weight: int = Field(ge=1, le=100, description="Share of requests that the new version gets, in percent.")
    pause: Annotated[str, duration_within("1s", "168h")] = Field(
        default="5m", description="How long it stays at this share before the next step."
    )


class Analysis(ApiModel):
    """What the new version must keep to; else the old one comes back."""

    max_error_percent: float | None = Field(
        default=None, ge=0, le=100, description="Most failed requests of the new version, in percent."
    )
    ttft_p95: Annotated[str, duration_within("1ms", "10m")] | None = Field(
        default=None, description="Time to the first token that 95 of 100 of its requests must keep."
    )
    tpot_p95: Annotated[str, duration_within("1ms", "1m")] | None = Field(
        default=None, description="Time for each further token that 95 of 100 of its requests must keep."
    )


class CanarySpec(ApiModel):
    """A new version gets some requests first."""

    steps: list[CanaryStep] = Field(
        min_length=1,
        max_length=16,
        description="Shares that the new version gets one after the other; it gets all requests after the last.",
        json_schema_extra={
            LIST_TYPE: "atomic",
            **rules(
                Rule(
                    rule="self.all(step, self.filter(other, other.weight == step.weight).size() == 1) && "
                    "self.map(step, step.weight).isSorted()",
                    message="the weights of the steps must grow from step to step",
                )
            ),
        },
    )
    analysis: Analysis | None = Field(
        default=None, description="What the new version must keep to; else the old one comes back."
    )


class RolloutSpec(ApiModel):
    """How a new version takes the place of the old one."""

    strategy: Literal["Auto", "Surge", "Recreate", "Canary"] = Field(
        default="Auto",
        description="Surge starts the new replica first and needs a spare accelerator; Recreate ends the old one first "
        "and holds requests meanwhile; Canary gives the new version some requests first; Auto surges where there is "
        "room.",
    )
    canary: CanarySpec | None = Field(default=None, description="Steps of strategy Canary.")
    drain_timeout: Annotated[str, duration_within("1s", "1h")] = Field(
        default="2m", description="How long a replica that ends may take to finish its requests."
    )
    quality_gate: ObjectName | None = Field(
        default=None, description="LLMBenchmark in the same namespace that a new version must pass before it serves."
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.strategy != 'Canary' || has(self.canary)",
            message="strategy Canary needs its steps: set canary.steps, or choose Auto, Surge or Recreate",
            at=".canary",
            why="FieldValueRequired",
        ),
        Rule(
            rule="self.strategy == 'Canary' || !has(self.canary)",
            message="canary is only read with strategy Canary: choose it, or leave canary out",
            at=".strategy",
        ),
    )
