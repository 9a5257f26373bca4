"""Whether the budget of a model is spent, by its spec and its status. Pure.

The operator counts; the amounts are compared with the spec as it is now, so that a higher budget has its effect even
before the operator sees it. Whatever can't be read counts as not spent: requests are then served.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from pydantic import ValidationError

from slipway.api.spending import BudgetSpec, BudgetStatus, PeriodStatus
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time


class SpentBudget(NamedTuple):
    refuses: bool  # or it only lets the model sleep without requests
    until: datetime


def spent_budget(deployment: Object, now: datetime) -> SpentBudget | None:
    """None: it isn't spent, or that is only reported."""
    try:
        spec = BudgetSpec.model_validate(deployment["spec"].get("budget"))
        status = BudgetStatus.model_validate((deployment.get("status") or {}).get("budget"))
    except ValidationError:
        return None
    resets = [each for each in _resets(spec, status) if each > now]
    return SpentBudget(spec.then == "Refuse", max(resets)) if resets and spec.then != "Alert" else None


def _resets(spec: BudgetSpec, status: BudgetStatus) -> Iterator[datetime]:
    """Of the periods whose budgets are spent."""
    for limit, period in ((spec.per_day, status.day), (spec.per_month, status.month)):
        if limit is not None and period and period.spent >= limit and (reset := _reset(period)):
            yield reset


def _reset(period: PeriodStatus) -> datetime | None:
    return parse_time(period.resets_at)
