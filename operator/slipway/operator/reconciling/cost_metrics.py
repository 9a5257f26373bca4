"""The metrics of costs: of each LLMDeployment, and of the prices that they are computed from. Pure.

Their accelerators are names of AcceleratorProfiles, which only administrators write, or empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.model_key import ModelKey
from slipway.observing.budget import Budget
from slipway.observing.ledger import Ledger
from slipway.operator.reconciling.accounting import price_of
from slipway.process.exposition import Description, Sample

OF_MODEL = ("namespace", "llmdeployment")


def _of_model(name: str, kind: str, help_: str, *labels: str) -> Description:
    return Description(f"slipway_{name}", kind, (*OF_MODEL, *labels), help_)


PER_HOUR = _of_model(
    "cost_per_hour", "gauge", "Cost per hour of the devices that replicas hold now, if all have a price"
)
COST = _of_model(
    "cost_total", "counter", "Cost of devices while replicas held them, since the object was created", "accelerator"
)
HELD = _of_model("device_seconds_total", "counter", "Seconds for which replicas held devices, by device", "accelerator")
BUSY = _of_model(
    "busy_device_seconds_total", "counter", "The part of them during which requests were in flight", "accelerator"
)
USED = _of_model("used_cost_total", "counter", "The price of these", "accelerator")
ASLEEP = _of_model(
    "asleep_device_seconds_total",
    "counter",
    "Seconds for which the devices of one replica were not held, because the model slept",
    "accelerator",
)
SAVED = _of_model(
    "saved_cost_total", "counter", "The price of these: what minReplicas 1 would have cost in addition", "accelerator"
)
LIMIT = _of_model(
    "budget_limit", "gauge", "Budget of the calendar day or month (UTC), where the spec has one", "period"
)
SPENT = _of_model("budget_spent", "gauge", "What was spent in that day or month", "period")
RESETS = _of_model("budget_resets_timestamp_seconds", "gauge", "When the next day or month starts", "period")
COST_METRICS = (PER_HOUR, COST, HELD, BUSY, USED, ASLEEP, SAVED, LIMIT, SPENT, RESETS)


class Costs(NamedTuple):
    """Of one LLMDeployment, as of now."""

    ledger: Ledger
    budget: Budget | None


def samples_of(key: ModelKey, costs: Costs) -> Iterator[Sample]:
    ledger, budget = costs
    if ledger.per_hour is not None:
        yield Sample(PER_HOUR, key, ledger.per_hour)
    unknown = {each.accelerator for each in ledger.silent}  # their use: without a series, it isn't taken for idle
    for accelerator, sums in ledger.totals.items():
        labels = (*key, accelerator)
        yield Sample(COST, labels, sums.spent)
        yield Sample(HELD, labels, sums.held)
        if accelerator not in unknown:
            yield Sample(BUSY, labels, sums.busy)
            yield Sample(USED, labels, sums.used)
        yield Sample(ASLEEP, labels, sums.asleep)
        yield Sample(SAVED, labels, sums.saved)
    for period in budget.periods if budget else ():
        labels = (*key, period.name)
        yield Sample(LIMIT, labels, period.limit)
        yield Sample(SPENT, labels, period.spent)
        yield Sample(RESETS, labels, period.resets_at.timestamp())


def prices_of(profiles: Iterable[AcceleratorProfile]) -> Mapping[tuple[str, ...], float]:
    """By accelerator, and whether it is on a spot node; nothing of profiles without a price."""
    found = {
        (each.metadata.name, str(is_spot).lower()): price_of(each, is_spot=is_spot)
        for each in profiles
        for is_spot in (False, True)
        if not is_spot or (each.spec.spot and each.spec.spot.cost_per_hour is not None)
    }
    return {labels: price for labels, price in found.items() if price is not None}
