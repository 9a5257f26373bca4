"""When a refused client should retry."""

import pytest
from slipway.activator.proxy.retry_after import after_wake


@pytest.mark.parametrize(
    ("expected", "elapsed", "seconds"),
    [(80.0, 0.0, 80), (80.0, 34.5, 46), (80.0, 79.9, 8), (80.0, 500.0, 8), (1.0, 5.0, 1)],
)
def test_a_refused_client_returns_when_the_wake_should_be_over(expected: float, elapsed: float, seconds: int) -> None:
    assert after_wake(expected, elapsed) == seconds
