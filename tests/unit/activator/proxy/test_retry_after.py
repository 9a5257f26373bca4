"""When a refused client should retry."""

import pytest
from slipway.activator.proxy.retry_after import after_reset, after_wake


@pytest.mark.parametrize(
    ("expected", "elapsed", "seconds"),
    [(80.0, 0.0, 80), (80.0, 34.5, 46), (80.0, 79.9, 8), (80.0, 500.0, 8), (1.0, 5.0, 1)],
)
def test_a_refused_client_returns_when_the_wake_should_be_over(expected: float, elapsed: float, seconds: int) -> None:
    assert after_wake(expected, elapsed) == seconds


def test_clients_that_are_refused_until_the_same_moment_return_spread_over_a_minute() -> None:
    seconds = [after_reset(3600.2, number) for number in range(120)]
    assert min(seconds) == 3601
    assert max(seconds) == 3660
    assert len(set(seconds)) == 60


@pytest.mark.parametrize(("left", "seconds"), [(30.0, {30, 31, 32}), (0.2, {1}), (-5.0, {1})])
def test_shortly_before_the_reset_they_are_spread_less(left: float, seconds: set[int]) -> None:
    assert {after_reset(left, number) for number in range(100)} == seconds
