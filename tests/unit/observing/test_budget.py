"""A budget is spent by calendar day and month, and what follows from it is said in one sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from slipway.api.reasons import Reason
from slipway.api.spending import BudgetSpec
from slipway.observing.budget import Budget, budget_of, is_news
from slipway.observing.ledger import Ledger, Sums, Window, day_of, month_of

NOON = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)
TOMORROW = datetime(2026, 12, 1, tzinfo=UTC)


def budget(spent: float, *, month: float = 0.0, unpriced: str = "", now: datetime = NOON, **spec: object) -> Budget:
    ledger = Ledger(
        as_of=now, day=Window(day_of(now), Sums(spent=spent)), month=Window(month_of(now), Sums(spent=month or spent))
    )
    found = budget_of(BudgetSpec.model_validate(spec or {"perDay": 10.0}), ledger, unpriced)
    assert found
    return found


@pytest.mark.parametrize(
    ("spent", "state"), [(0, "Within"), (7.99, "Within"), (8, "NearlySpent"), (9.99, "NearlySpent"), (10, "Spent")]
)
def test_a_budget_is_nearly_spent_from_80_percent_on(spent: float, state: str) -> None:
    assert budget(spent).state == state


def test_a_cost_that_may_not_exist_spends_no_budget() -> None:
    sums = Sums(spent=100.0, uncertain=91.0)
    ledger = Ledger(as_of=NOON, day=Window(day_of(NOON), sums), month=Window(month_of(NOON), sums))
    found = budget_of(BudgetSpec.model_validate({"perDay": 10.0, "perMonth": 1000.0, "then": "Refuse"}), ledger)
    assert found
    assert (found.state, found.refuses) == ("NearlySpent", False)
    written = found.as_status()
    assert (written["day"]["spent"], written["month"]["spent"]) == (9.0, 9.0)


def test_the_worst_period_counts() -> None:
    found = budget(1.0, month=100.0, perDay=10.0, perMonth=100.0)
    assert (found.state, [each.name for each in found.decides]) == ("Spent", ["month"])
    assert found.message == (
        "The budget of 100 per month is spent, until 2026-12-01 00:00 UTC. It is only reported: budget.then is Alert."
    )


def test_if_both_are_spent_the_later_reset_counts() -> None:
    now = NOON - timedelta(days=10)
    found = budget(10.0, month=100.0, perDay=10.0, perMonth=100.0, now=now)
    assert found.resets_at == TOMORROW


@pytest.mark.parametrize(("then", "sleeps", "refuses"), [("Alert", 0, 0), ("Sleep", 1, 0), ("Refuse", 1, 1)])
def test_what_follows_is_what_the_spec_says(then: str, sleeps: int, refuses: int) -> None:
    spent, left = budget(10.0, perDay=10.0, then=then), budget(9.0, perDay=10.0, then=then)
    assert (spent.keeps_asleep, spent.refuses) == (bool(sleeps), bool(refuses))
    assert not left.keeps_asleep
    assert not left.refuses


def test_without_an_activator_nothing_follows_and_that_is_said() -> None:
    found = replace(budget(10.0, perDay=10.0, then="Refuse"), can_sleep=False)
    assert (found.keeps_asleep, found.refuses) == (False, False)
    assert "Replicas stay, because only with Slipway's activator a model can sleep: install it." in found.message


def test_an_unknown_price_is_said_unless_the_budget_is_spent_anyway() -> None:
    found = budget(1.0, unpriced="h100 has no price")
    assert (found.holds, found.reason, found.message) == (None, Reason.PRICE_UNKNOWN, "h100 has no price")
    found = budget(10.0, unpriced="h100 has no price")
    assert (found.holds, found.reason) == (False, Reason.BUDGET_SPENT)


def test_the_next_moment_is_when_a_threshold_is_reached_at_this_rate() -> None:
    assert list(budget(4.0).next_moment(4.0)) == [timedelta(hours=1), timedelta(hours=1.5)]
    assert list(budget(9.0).next_moment(4.0)) == [timedelta(minutes=15)]
    assert list(budget(10.0).next_moment(4.0)) == []
    assert list(budget(4.0).next_moment(0.0)) == list(budget(4.0).next_moment(None)) == []
    assert list(budget(4.0).next_moment(1e-300)) == []  # no moment that can be written


def test_only_another_state_limit_or_reset_is_news() -> None:
    written = budget(8.0).as_status()
    assert is_news(None, budget(8.0))
    assert is_news(written, None)
    assert not is_news(None, None)
    assert not is_news(written, budget(9.5))
    assert is_news(written, budget(10.0))
    assert is_news(written, budget(8.0, perDay=9.9))
    assert is_news(written, budget(8.0, perDay=10.0, perMonth=900.0))
    assert is_news(written, budget(8.0, now=NOON + timedelta(days=1)))


def test_the_status_has_what_is_left_and_until_when() -> None:
    assert budget(8.0).as_status() == {
        "state": "NearlySpent",
        "day": {"limit": 10.0, "spent": 8.0, "resetsAt": "2026-12-01T00:00:00Z"},
    }
