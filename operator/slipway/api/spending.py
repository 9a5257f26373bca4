"""`spec.budget`, and what was spent: `status.cost` and `status.budget`. Days and months are calendar ones, in UTC."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.kubernetes import keyed
from slipway.api.schema import LIST_TYPE, ApiModel, Checked, ReportModel, Rule

MOST_PODS = 64  # of those that hold devices, in the status
MOST_ACCELERATORS = 16  # for which totals are kept
PERIODS = ("day", "month")
Count = Annotated[float, Field(ge=0)]
Time = Annotated[str, Field(max_length=32)]

Amount = Annotated[
    float,
    Checked(
        check=lambda value: value > 0,
        rule="self > 0.0",
        message="must be more than 0; to keep a model from running at all, set the annotation slipway.dev/paused",
    ),
]


class BudgetSpec(ApiModel):
    """What the model may cost, in the currency of the profiles' prices, and what happens once that is spent."""

    per_day: Amount | None = Field(default=None, description="Budget of a calendar day, in UTC.")
    per_month: Amount | None = Field(default=None, description="Budget of a calendar month, in UTC.")
    then: Literal["Alert", "Sleep", "Refuse"] = Field(
        default="Alert",
        description="What happens until the next day or month once the budget is spent. Alert: it is only reported. "
        "Sleep: no replica is kept without requests, whatever minReplicas and schedule say. Refuse: the model sleeps, "
        "and requests get 429 with the time of the reset.",
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.perDay) || has(self.perMonth)",
            message="a budget needs an amount: set perDay or perMonth, or remove budget",
            why="FieldValueRequired",
        ),
    )


NEEDS_KEDA = Rule(
    rule="!has(self.budget) || self.budget.then == 'Alert' || self.scaling.autoscaler == 'KEDA'",
    message="only KEDA scales to zero, which then: Sleep and then: Refuse need: set scaling.autoscaler to KEDA, or "
    "budget.then to Alert",
    at=".budget.then",
)


# --- the status -------------------------------------------------------------------------------------------------------


class SpentStatus(ReportModel):
    """What was spent in one calendar day or month, up to `asOf`."""

    since: Time = Field(default="", description="Start of the day or month, in UTC.")
    spent: Count = Field(default=0.0, description="Cost of all devices while replicas held them.")
    used: Count = Field(default=0.0, description="The part of it during which requests were in flight.")
    device_hours: Count = Field(default=0.0, description="Hours for which replicas held devices, summed over devices.")
    busy_device_hours: Count = Field(default=0.0, description="The part of it during which requests were in flight.")
    asleep_device_hours: Count = Field(
        default=0.0, description="Device hours that one replica would have held while there was none."
    )
    saved: Count = Field(default=0.0, description="Their price: what minReplicas 1 would have cost in addition.")
    unpriced_device_hours: Count = Field(
        default=0.0, description="Device hours without a known price, which `spent` doesn't include."
    )
    uncertain: Count = Field(
        default=0.0,
        description="The part of `spent` that may be too much: pods that ended while no operator ran count until one "
        "ran again.",
    )
    prompt_tokens: int = Field(default=0, ge=0, description="Tokens of prompts that replicas have computed.")
    output_tokens: int = Field(default=0, ge=0, description="Tokens that replicas have generated.")


class TotalStatus(ReportModel):
    """Sums since the object was created, for one accelerator."""

    accelerator: str = Field(max_length=253, description="The AcceleratorProfile; empty if the plan has none.")
    spent: Count = Field(default=0.0, description="Cost of its devices while replicas held them.")
    used: Count = Field(default=0.0, description="The part of it during which requests were in flight.")
    device_hours: Count = Field(default=0.0, description="Device hours that replicas held.")
    busy_device_hours: Count = Field(default=0.0, description="The part of it during which requests were in flight.")
    asleep_device_hours: Count = Field(default=0.0, description="Device hours that were not held, at zero replicas.")
    saved: Count = Field(default=0.0, description="The price of these.")


class HeldStatus(ReportModel):
    """What one pod held at `asOf`, and what was counted of its use."""

    uid: str = Field(default="", max_length=64, description="UID of the pod.")
    accelerator: str = Field(default="", max_length=253, description="AcceleratorProfile of its devices.")
    devices: int = Field(default=1, ge=1, le=65536, description="Number of its devices.")
    per_hour: Count | None = Field(default=None, description="Price of them per hour; absent if it is unknown.")
    busy_seconds: Count | None = Field(default=None, description="Seconds with requests in flight, counted so far.")
    prompt_tokens: int = Field(default=0, ge=0, description="Prompt tokens counted so far.")
    output_tokens: int = Field(default=0, ge=0, description="Output tokens counted so far.")
    unreported: bool | None = Field(default=None, description="True: its runtime doesn't report how it was used.")


class CostStatus(ReportModel):
    """The cost, by the prices of the accelerator profiles. Written when something changes, and once an hour."""

    as_of: Time = Field(default="", description="The time up to which everything is counted.")
    per_hour: Count | None = Field(
        default=None, description="Cost per hour of the replicas that run at asOf; absent if a price is unknown."
    )
    devices: int = Field(default=0, ge=0, description="Devices that these replicas hold.")
    per_million_tokens: Count | None = Field(
        default=None, description="What this month has cost so far per million output tokens."
    )
    per_million_tokens_used: Count | None = Field(
        default=None, description="The same, without the time in which devices had nothing to do."
    )
    today: SpentStatus | None = Field(default=None, description="The calendar day of asOf.")
    month: SpentStatus | None = Field(default=None, description="The calendar month of asOf.")
    message: str | None = Field(default=None, max_length=1024, description="What these numbers leave out, and why.")
    totals: list[TotalStatus] = Field(
        default_factory=list,
        max_length=MOST_ACCELERATORS,
        description="Sums since the object was created, by accelerator.",
        json_schema_extra=keyed("accelerator"),
    )
    pods: list[HeldStatus] = Field(
        default_factory=list,
        max_length=MOST_PODS,
        description="The pods that held devices at asOf, from which the next operator goes on.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )
    more_pods: int = Field(default=0, ge=0, description="Further pods that the list has no room for.")
    asleep: HeldStatus | None = Field(default=None, description="What one replica would hold, at zero replicas.")


class PeriodStatus(ReportModel):
    """The budget of one period."""

    limit: Count = Field(default=0.0, description="The amount of perDay or perMonth.")
    spent: Count = Field(
        default=0.0, description="What was spent of it at status.cost.asOf, but for what is uncertain."
    )
    resets_at: Time = Field(default="", description="When the next day or month starts.")


class BudgetStatus(ReportModel):
    """How much of the budget is spent."""

    state: Literal["Within", "NearlySpent", "Spent"] = Field(
        default="Within", description="NearlySpent: 80 % or more of the budget of a period is spent."
    )
    day: PeriodStatus | None = Field(default=None, description="The budget of the day, if perDay is set.")
    month: PeriodStatus | None = Field(default=None, description="The budget of the month, if perMonth is set.")
