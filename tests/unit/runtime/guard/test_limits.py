"""Who has how much in flight, and how fast each may go on."""

import pytest
from slipway_runtime.guard.limits import Limits


def test_what_entered_is_in_flight_until_it_leaves() -> None:
    limits = Limits(per_minute=0, burst=1)
    limits.enter("alice", 0)
    limits.enter("alice", 0)
    limits.enter("bob", 0)
    limits.leave("alice")
    assert (limits.in_flight, limits.of("alice"), limits.of("bob"), limits.of("carol")) == (2, 1, 1, 0)


def test_without_a_rate_nobody_waits() -> None:
    limits = Limits(per_minute=0, burst=1)
    for _ in range(1000):
        limits.enter("alice", 0)
    assert limits.wait("alice", 0) == 0


def test_a_burst_goes_through_and_then_one_at_a_time() -> None:
    limits = Limits(per_minute=60, burst=3)
    for _ in range(3):
        assert limits.wait("alice", 100) == 0
        limits.enter("alice", 100)
    assert limits.wait("alice", 100) == pytest.approx(1)
    assert limits.wait("alice", 100.75) == pytest.approx(0.25)
    assert limits.wait("alice", 101) == pytest.approx(0)


def test_who_has_rested_has_the_whole_burst_again_and_no_more() -> None:
    limits = Limits(per_minute=60, burst=3)
    sent = 0
    for now in (0, 1000):
        while limits.wait("alice", now) == 0:
            limits.enter("alice", now)
            sent += 1
    assert sent == 6


def test_one_who_is_too_fast_does_not_slow_others() -> None:
    limits = Limits(per_minute=60, burst=1)
    limits.enter("alice", 0)
    assert limits.wait("alice", 0) > 0
    assert limits.wait("bob", 0) == 0


def test_over_a_long_time_the_rate_is_kept() -> None:
    limits = Limits(per_minute=120, burst=5)
    sent = 0
    for tick in range(6000):
        if limits.wait("alice", tick / 100) == 0:
            limits.enter("alice", tick / 100)
            limits.leave("alice")
            sent += 1
    assert sent == pytest.approx(120 + 5, abs=1)


def test_owners_that_have_rested_are_forgotten() -> None:
    limits = Limits(per_minute=60, burst=1)
    for number in range(30_000):
        limits.enter(f"owner {number}", number)
        limits.leave(f"owner {number}")
    assert len(limits._full_again) <= 10_001
