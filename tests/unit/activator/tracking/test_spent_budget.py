"""What the activator takes from a spent budget: only what the spec wants now, and until the reset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from slipway.activator.tracking.spent_budget import SpentBudget, spent_budget
from slipway.activator.tracking.watches import needed_of_deployment
from slipway.objects.kinds import Object

NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)
TOMORROW, NEXT_MONTH = datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
DAY = {"limit": 10.0, "spent": 10.2, "resetsAt": "2026-12-01T00:00:00Z"}
MONTH = {"limit": 100.0, "spent": 100.0, "resetsAt": "2027-01-01T00:00:00Z"}
REFUSE = {"perDay": 10.0, "then": "Refuse"}


def llm(budget: object, status: object) -> Object:
    metadata = {"name": "llama", "namespace": "chat"}
    found: Object = {"metadata": metadata, "spec": {"model": {"uri": "pvc://m/"}}, "status": {"budget": status}}
    return {**found, "spec": {**found["spec"], "budget": budget}} if budget is not None else found


def found(budget: object, status: object, now: datetime = NOW) -> SpentBudget | None:
    """As the activator stores it."""
    return spent_budget(needed_of_deployment(llm(budget, status)), now)


@pytest.mark.parametrize(
    ("budget", "status", "expected"),
    [
        (REFUSE, {"state": "Spent", "day": DAY}, (True, TOMORROW)),
        ({**REFUSE, "then": "Sleep"}, {"state": "Spent", "day": DAY}, (False, TOMORROW)),
        ({**REFUSE, "perMonth": 100.0}, {"state": "Spent", "day": DAY, "month": MONTH}, (True, NEXT_MONTH)),
        ({**REFUSE, "perMonth": 100.5}, {"state": "Spent", "day": DAY, "month": MONTH}, (True, TOMORROW)),
        ({"perMonth": 100.0, "then": "Refuse"}, {"state": "Spent", "day": DAY, "month": MONTH}, (True, NEXT_MONTH)),
    ],
)
def test_requests_are_refused_until_the_last_spent_period_ends(
    budget: Object, status: Object, expected: tuple[bool, datetime]
) -> None:
    assert found(budget, status) == expected


@pytest.mark.parametrize(
    ("why", "budget", "status"),
    [
        ("no budget", None, {"state": "Spent", "day": DAY}),
        ("it is only reported", {**REFUSE, "then": "Alert"}, {"state": "Spent", "day": DAY}),
        ("it was raised", {**REFUSE, "perDay": 11.0}, {"state": "Spent", "day": DAY}),
        ("that period has no budget now", {"perMonth": 500.0, "then": "Refuse"}, {"state": "Spent", "day": DAY}),
        ("an older operator", REFUSE, None),
        ("nothing is known of the reset", REFUSE, {"state": "Spent", "day": {"limit": 10.0, "spent": 11.0}}),
        ("a newer word", REFUSE, {"state": "Exhausted", "day": DAY}),
        ("a newer consequence", {**REFUSE, "then": "Queue"}, {"state": "Spent", "day": DAY}),
        ("forged", REFUSE, {"state": "Spent", "day": {**DAY, "resetsAt": "9999-99-99"}}),
        ("forged", REFUSE, {"state": "Spent", "day": [1]}),
        ("forged", REFUSE, "Spent"),
    ],
)
def test_whatever_is_not_surely_spent_is_served(why: str, budget: Any, status: Any) -> None:
    assert found(budget, status) is None, why


def test_the_reset_needs_no_operator() -> None:
    status = {"state": "Spent", "day": DAY}
    assert found(REFUSE, status, TOMORROW - timedelta(seconds=1))
    assert found(REFUSE, status, TOMORROW) is None
