"""Models that go to sleep at the very moment at which somebody asks."""

from __future__ import annotations

import random

import pytest
from support.falling_asleep import tried

TIMINGS = 1000


@pytest.mark.timeout(900, func_only=True)
@pytest.mark.parametrize("operator_lag", [0.5, 60.0], ids=["with an operator", "while the operator is down"])
def test_at_a_thousand_timings_every_request_is_answered(chance: random.Random, operator_lag: float) -> None:
    """In virtual time."""
    seeds = [chance.randrange(1 << 32) for _ in range(TIMINGS // 2)]
    moments = tried(seeds, operator_lag=operator_lag)
    assert moments["going to sleep"] > TIMINGS // 10
