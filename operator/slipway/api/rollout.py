"""`spec.rollout`: how a new version replaces the old one."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.schema import LIST_TYPE, ApiModel, ObjectName, Rule, duration_within, rules


class CanaryStep(ApiModel):
    weight: int = Field(ge=1, le=100, description="Share of requests that the new version receives, in percent.")
    pause: Annotated[str, duration_within("1s", "168h")] = Field(default="5m", description="How long this step lasts.")


class Analysis(ApiModel):
    """Limits that the new version must meet, or it is rolled back."""

    max_error_percent: float | None = Field(
        default=None, ge=0, le=100, description="Maximum share of failed requests of the new version, in percent."
    )
    ttft_p95: Annotated[str, duration_within("1ms", "10m")] | None = Field(
        default=None, description="Maximum time to first token (TTFT) of the new version, 95th percentile."
    )
    tpot_p95: Annotated[str, duration_within("1ms", "1m")] | None = Field(
        default=None, description="Maximum time per output token (TPOT) of the new version, 95th percentile."
    )


class CanarySpec(ApiModel):
    """Canary rollout: the new version receives a growing share of the requests."""

    steps: list[CanaryStep] = Field(
        min_length=1,
        max_length=16,
        description="Shares of requests for the new version, in order; after the last step it receives all requests.",
        json_schema_extra={
            LIST_TYPE: "atomic",
            **rules(
                Rule(
                    rule="self.all(step, self.filter(other, other.weight == step.weight).size() == 1) && "
                    "self.map(step, step.weight).isSorted()",
                    message="the weights of the steps don't grow: give each step a larger weight than the one before",
                )
            ),
        },
    )
    analysis: Analysis | None = Field(
        default=None, description="Limits that the new version must meet, or it is rolled back."
    )


class RolloutSpec(ApiModel):
    """How a new version replaces the old one."""

    strategy: Literal["Auto", "Surge", "Recreate", "Canary"] = Field(
        default="Auto",
        description="Surge starts the new replica first and needs a spare accelerator; Recreate stops the old one "
        "first and holds requests meanwhile; Canary shifts requests to the new version step by step; Auto surges if "
        "there is room, and recreates otherwise.",
    )
    canary: CanarySpec | None = Field(default=None, description="Steps of strategy Canary.")
    drain_timeout: Annotated[str, duration_within("1s", "1h")] = Field(
        default="2m", description="How long a terminating replica may take to finish its requests."
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
            message="canary is only used by strategy Canary: choose that strategy, or remove canary",
            at=".strategy",
        ),
    )
