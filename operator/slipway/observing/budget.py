"""How much of a model's budget is spent, and what follows from it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from slipway.api.reasons import Reason
from slipway.api.spending import BudgetSpec, BudgetStatus, PeriodStatus
from slipway.objects.kinds import Object
from slipway.observing.ledger import HOUR, Ledger, Sums, next_day, next_month

NEARLY = 0.8  # of the budget, from which it counts as nearly spent
WITHIN, NEARLY_SPENT, SPENT = "Within", "NearlySpent", "Spent"
REASONS = {WITHIN: Reason.WITHIN_BUDGET, NEARLY_SPENT: Reason.BUDGET_NEARLY_SPENT, SPENT: Reason.BUDGET_SPENT}
THEN = {
    "Alert": "It is only reported: budget.then is Alert.",
    "Sleep": "Until then no replica is kept without requests, and requests still wake it.",
    "Refuse": "Until then the model sleeps, and requests get 429.",
}
NOTHING_FOLLOWS = "Replicas stay, because only with Slipway's activator a model can sleep: install it."
LONGEST = timedelta(days=40)  # until a budget is spent; what is later is beyond its reset


class Period(NamedTuple):
    """The budget of the present day or month."""

    name: str  # day or month
    limit: float
    spent: float
    resets_at: datetime

    @property
    def state(self) -> str:
        share = self.spent / self.limit
        return SPENT if share >= 1 else NEARLY_SPENT if share >= NEARLY else WITHIN


@dataclass(frozen=True)
class Budget:
    spec: BudgetSpec
    periods: tuple[Period, ...]
    unpriced: str = ""  # why the budget can't be kept: a price is unknown; empty: none is
    can_sleep: bool = True  # an activator is there, so that models can sleep

    @property
    def state(self) -> str:
        states = {each.state for each in self.periods}
        return next((each for each in (SPENT, NEARLY_SPENT) if each in states), WITHIN)

    @property
    def decides(self) -> tuple[Period, ...]:
        """The periods that have this state."""
        return tuple(each for each in self.periods if each.state == self.state)

    @property
    def resets_at(self) -> datetime:
        """When all of them are over."""
        return max(each.resets_at for each in self.decides)

    @property
    def then(self) -> str:
        return self.spec.then

    @property
    def keeps_asleep(self) -> bool:
        """Whether no replica is kept without requests."""
        return self.state == SPENT and self.then != "Alert" and self.can_sleep

    @property
    def refuses(self) -> bool:
        return self.keeps_asleep and self.then == "Refuse"

    @property
    def reason(self) -> Reason:
        return Reason.PRICE_UNKNOWN if self.unpriced and self.state != SPENT else REASONS[self.state]

    @property
    def holds(self) -> bool | None:
        """The condition WithinBudget; None: unknown."""
        return None if self.reason == Reason.PRICE_UNKNOWN else self.state != SPENT

    @property
    def message(self) -> str:
        """The same for as long as the state is, so that it causes no write."""
        if self.reason == Reason.PRICE_UNKNOWN:
            return self.unpriced
        if self.state == WITHIN:
            return Reason.WITHIN_BUDGET.meaning
        which = " and ".join(f"{each.limit:g} per {each.name}" for each in self.decides)
        if self.state == NEARLY_SPENT:
            return f"Of the budget of {which}, 80 % or more is spent. It resets at {_at(self.resets_at)}."
        follows = THEN[self.then] if self.can_sleep or self.then == "Alert" else NOTHING_FOLLOWS
        return f"The budget of {which} is spent, until {_at(self.resets_at)}. {follows}"

    def next_moment(self, per_hour: float | None) -> Iterator[timedelta]:
        """Times until the state changes, at the present cost per hour."""
        for each in self.periods:
            for share in (NEARLY, 1.0):
                left = share * each.limit - each.spent
                if left > 0 and per_hour and left / per_hour * HOUR < LONGEST.total_seconds():
                    yield timedelta(seconds=left / per_hour * HOUR)

    def as_status(self) -> Object:
        periods = {each.name: _as_status(each) for each in self.periods}
        return BudgetStatus.model_validate({"state": self.state, **periods}).model_dump(
            by_alias=True, exclude_none=True
        )


def budget_of(spec: BudgetSpec | None, ledger: Ledger, unpriced: str = "", *, can_sleep: bool = True) -> Budget | None:
    """None: the spec has none."""
    if spec is None:
        return None
    spent_today, spent = _certainly_spent(ledger.day.sums), _certainly_spent(ledger.month.sums)
    day = Period("day", spec.per_day, spent_today, next_day(ledger.day.start)) if spec.per_day else None
    month = Period("month", spec.per_month, spent, next_month(ledger.month.start)) if spec.per_month else None
    periods = tuple(each for each in (day, month) if each)
    return Budget(spec, periods, unpriced, can_sleep) if periods else None


def _certainly_spent(sums: Sums) -> float:
    """Nothing is refused for a cost that may not exist."""
    return max(0.0, sums.spent - sums.uncertain)


def is_news(before: Object | None, budget: Budget | None) -> bool:
    """Whether the state or a limit has changed, or a spent budget is another one."""
    if before is None or budget is None:
        return bool(before) or budget is not None
    now = budget.as_status()
    same_limits = all(_limit(before, name) == _limit(now, name) for name in ("day", "month"))
    return before.get("state") != now["state"] or not same_limits or _resets(before, budget)


def _resets(before: Object, budget: Budget) -> bool:
    """The next period has its own reset, of which the activator must know."""
    if budget.state == WITHIN:
        return False
    now = budget.as_status()
    return any((before.get(each.name) or {}).get("resetsAt") != now[each.name]["resetsAt"] for each in budget.decides)


def _limit(status: Object, period: str) -> object:
    return (status.get(period) or {}).get("limit")


def _as_status(period: Period) -> PeriodStatus:
    return PeriodStatus(limit=period.limit, spent=round(period.spent, 6), resets_at=f"{period.resets_at:%FT%TZ}")


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
