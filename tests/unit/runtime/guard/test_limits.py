"""How many requests an owner has in flight, and how fast it may send more."""

import pytest
from slipway_runtime.guard.limits import Limits


def test_a_request_is_in_flight_from_its_start_until_it_leaves() -> None:
    limits = Limits(per_minute=0, burst=1)
    limits.enter("alice", 0)
    limits.enter("alice", 0)
    limits.enter("bob", 0)
    limits.leave("alice")
    assert (limits.in_flight, limits.of("alice"), limits.of("bob"), limits.of("carol")) == (2, 1, 1, 0)


def test_without_a_rate_no_request_waits() -> None:
    limits = Limits(per_minute=0, burst=1)
    for _ in range(1000):
        limits.enter("alice", 0)
    assert limits.wait("alice", 0) == 0


def test_a_burst_passes_and_then_one_request_at_a_time() -> None:
    limits = Limits(per_minute=60, burst=3)
    for _ in range(3):
        assert limits.wait("alice", 100) == 0
        limits.enter("alice", 100)
    assert limits.wait("alice", 100) == pytest.approx(1)
    assert limits.wait("alice", 100.75) == pytest.approx(0.25)
    assert limits.wait("alice", 101) == pytest.approx(0)


def test_an_owner_that_was_idle_has_the_full_burst_again_and_no_more() -> None:
    limits = Limits(per_minute=60, burst=3)
    sent = 0
    for now in (0, 1000):
        while limits.wait("alice", now) == 0:
            limits.enter("alice", now)
            sent += 1
    assert sent == 6


def test_an_owner_that_is_too_fast_does_not_slow_others() -> None:
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


def test_idle_owners_are_forgotten() -> None:
    limits = Limits(per_minute=60, burst=1)
    for number in range(30_000):
        limits.enter(f"owner {number}", number)
        limits.leave(f"owner {number}")
    assert len(limits._requests._full_again) <= 10_001


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_tokens_are_not_limited_unless_configured() -> None:
    limits = Limits(per_minute=0, burst=1)
    limits.tokens.take("alice", 10**9, 0)
    assert limits.wait_for_tokens("alice", 0) == 0


def test_an_owner_with_one_token_left_may_use_more_and_pays_it_back() -> None:
    limits = Limits(per_minute=0, burst=1, tokens_per_minute=60)
    limits.tokens.take("alice", 59, 0)
    assert limits.wait_for_tokens("alice", 0) == 0
    limits.tokens.take("alice", 100, 0)  # 99 more than were available
    assert limits.tokens.left("alice", 0) == pytest.approx(-99)
    assert limits.wait_for_tokens("alice", 0) == pytest.approx(100)
    assert limits.wait_for_tokens("alice", 99) == pytest.approx(1)
    assert limits.wait_for_tokens("alice", 100) == 0
    assert limits.wait_for_tokens("bob", 0) == 0


def test_tokens_reserved_in_excess_are_returned() -> None:
    limits = Limits(per_minute=0, burst=1, tokens_per_minute=60)
    limits.tokens.take("alice", 60, 0)
    limits.tokens.take("alice", -20, 0)
    assert limits.tokens.left("alice", 0) == pytest.approx(20)


def test_an_idle_owner_has_the_tokens_of_one_minute_and_no_more() -> None:
    limits = Limits(per_minute=0, burst=1, tokens_per_minute=60)
    limits.tokens.take("alice", 60, 0)
    assert limits.tokens.left("alice", 1000) == 60
