"""`spec.slo`: what clients of a model may rely on, so that alerts and the goodput can be computed; and `status.slo`."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api import units
from slipway.api.schema import (
    LIST_TYPE,
    MOST_LINES,
    ApiModel,
    Line,
    ReportModel,
    Rule,
    cel,
    duration_within,
    matches,
)

TTFT_BOUNDS, TPOT_BOUNDS, E2E_BOUNDS = ("5ms", "5m"), ("1ms", "4s"), ("50ms", "1h")
"""The histograms of Slipway's engines have a boundary close above every target within these."""

Availability = Annotated[
    str,
    matches(
        r"^([5-8][0-9]|9[0-9])(\.[0-9]{1,3})?%$",
        "must be a percentage from 50% to 99.999%, such as 99.9%",
        at_most=8,
    ),
]


class SloSpec(ApiModel):
    """Service level objectives (SLOs): within `window`, the given share of requests meets each of them."""

    ttft_p95: Annotated[str, duration_within(*TTFT_BOUNDS)] | None = Field(
        default=None, description="Time to first token (TTFT) that 95 % of requests stay within, such as 500ms."
    )
    tpot_p95: Annotated[str, duration_within(*TPOT_BOUNDS)] | None = Field(
        default=None, description="Time per output token (TPOT) that 95 % of requests stay within, such as 40ms."
    )
    e2e_p99: Annotated[str, duration_within(*E2E_BOUNDS)] | None = Field(
        alias="e2eP99",  # pydantic would make it e2EP99
        default=None,
        description="Time until the complete response that 99 % of requests stay within, such as 30s.",
    )
    availability: Availability | None = Field(
        default=None, description="Share of requests that the model doesn't fail, such as 99.9%."
    )
    window: Annotated[str, duration_within("1h", "2160h")] = Field(
        default="720h",
        description="Time over which the objectives hold and an error budget lasts, by default 30 days. Alerts say "
        "how many times faster than that it is spent; their default thresholds are those for 30 days.",
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.ttftP95) || has(self.tpotP95) || has(self.e2eP99) || has(self.availability)",
            message="slo has no objective: set ttftP95, tpotP95, e2eP99 or availability, or remove slo",
            why="FieldValueRequired",
        ),
        Rule(
            rule=f"!has(self.ttftP95) || !has(self.e2eP99) || !self.ttftP95.matches({cel(units.DURATION)}) || "
            f"!self.e2eP99.matches({cel(units.DURATION)}) || duration(self.ttftP95) <= duration(self.e2eP99)",
            message="ttftP95 must not be longer than e2eP99, because the first token is a part of the response: lower "
            "ttftP95, or raise e2eP99",
            at=".ttftP95",
        ),
    )

    @property
    def availability_share(self) -> float | None:
        """0.999 for 99.9%."""
        return float(Decimal(self.availability.removesuffix("%")) / 100) if self.availability else None


# --- the status -------------------------------------------------------------------------------------------------------


class UncountedStatus(ReportModel):
    """Objectives that the running pods can't count."""

    objectives: list[Annotated[str, Field(max_length=16)]] = Field(
        default_factory=list,
        max_length=8,
        description="Their fields in spec.slo. They are no metrics as long as that is so.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )
    pod: str = Field(default="", max_length=253, description="The pod that has run longest of those that can't.")
    message: Line = Field(default="", description="Since when, why, and how to change it.")


class SloStatus(ReportModel):
    """How the objectives of `spec.slo` are counted."""

    boundaries: dict[str, Annotated[str, Field(max_length=16)]] = Field(
        default_factory=dict,
        max_length=8,
        description="For each objective of time, the boundary of the engine's histogram at which it is counted, in "
        "seconds as the label le has it: the smallest that isn't below the target.",
    )
    advice: list[Line] = Field(
        default_factory=list,
        max_length=MOST_LINES,
        description="What is counted differently than the target says, or not at all.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )
    uncounted: UncountedStatus | None = Field(
        default=None,
        description="What isn't counted now, because of pods whose histograms lack a boundary; `message` says why.",
    )
