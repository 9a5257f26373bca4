"""What earlier starts suggest about the next one."""

import pytest
from slipway.observing.wake_estimate import LONGEST, SHORTEST, expected_wake, hold_timeout, last_cold_start


def test_the_usual_start_is_expected_and_not_the_odd_one() -> None:
    assert expected_wake([20.0, 22.0, 300.0]) == 22.0


def test_before_the_first_start_the_size_determines_the_estimate() -> None:
    assert expected_wake([], 1e9) < expected_wake([], 16e9) < expected_wake([], 140e9)


@pytest.mark.parametrize(
    ("starts", "seconds"),
    [([1.0], SHORTEST), ([20.0, 200.0], 430.0), ([7200.0], LONGEST)],
    ids=["quick starts still get some time", "the slowest counts", "it is bounded"],
)
def test_patience(starts: list[float], seconds: float) -> None:
    assert hold_timeout(starts) == seconds


@pytest.mark.parametrize(
    ("starts", "limit", "seconds"),
    [
        ([], None, 310.0),
        ([], 120.0, 310.0),
        ([], 1800.0, 1800.0),
        ([], 9000.0, LONGEST),
        ([20.0], 1800.0, SHORTEST),
    ],
    ids=[
        *("nothing is planned", "never shorter than without", "as long as a start may take", "it is bounded"),
        "earlier starts say more",
    ],
)
def test_before_the_first_start_requests_wait_for_as_long_as_the_plan_lets_it_take(
    starts: list[float], limit: float | None, seconds: float
) -> None:
    assert hold_timeout(starts, start_limit=limit) == seconds


def test_the_status_remembers_the_last_start() -> None:
    assert last_cold_start({"status": {"lastColdStart": {"schedule": "1s", "ready": "1m"}}}) == 61
    assert last_cold_start({}) is None
