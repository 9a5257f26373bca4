"""What the replicas of a model have measured recently."""

from __future__ import annotations

import math

import pytest
from slipway.activator.tracking.engine_metrics import MetricsReading
from slipway.activator.tracking.measured_times import MOST_MEASURED, SETTLES_AFTER, STALE_AFTER, MeasuredTimes

FAST, SLOW = 0.5, 4.0


def reading(fast: float, slow: float = 0) -> MetricsReading:
    return MetricsReading(0, 0, {"ttft": {FAST: fast, SLOW: fast + slow, math.inf: fast + slow}})


def following(*uids: str) -> MeasuredTimes:
    """They settled at 0."""
    times = MeasuredTimes()
    times.follow(frozenset(uids), -SETTLES_AFTER)
    return times


def test_only_what_was_added_recently_counts() -> None:
    times = following("a")
    for now in range(0, 120, 2):
        times.record("a", reading(fast=0 if now < 50 else now, slow=100), 1, now)
    assert times.measured(119).seconds["ttft"] <= FAST


def test_few_requests_are_measured_over_a_longer_time_and_very_few_not_at_all() -> None:
    times = following("a")
    for now in range(0, 300, 5):
        times.record("a", reading(fast=now // 10), 1, now)
    found = times.measured(298)
    assert "ttft" in found.seconds
    assert found.rate == pytest.approx(0.1, rel=0.1)
    times = following("a")
    for now in range(0, 300, 5):
        times.record("a", reading(fast=now // 20), 1, now)
    assert times.measured(298).seconds == {}


def test_three_slow_requests_of_few_do_not_say_that_the_model_is_slow() -> None:
    for slow, is_slow in ((3, False), (4, True)):
        times = following("a")
        times.record("a", reading(fast=0), 1, 0)
        times.record("a", reading(fast=27, slow=slow), 1, 30)
        assert (times.measured(30).seconds["ttft"] > FAST) is is_slow


def test_replicas_count_by_their_requests() -> None:
    times = following("a", "b")
    for uid in ("a", "b"):
        times.record(uid, reading(0), 1, 0)
    times.record("a", reading(fast=900), 1, 30)
    times.record("b", reading(fast=0, slow=10), 1, 30)
    assert times.measured(30).seconds["ttft"] < FAST


def test_other_replicas_start_the_measurement_again_and_settle_first() -> None:
    times = following("a")
    times.record("a", reading(0), 9, 0)
    times.record("a", reading(0, slow=100), 9, 30)
    times.follow(frozenset({"a", "b"}), 30)
    times.record("a", reading(0, slow=200), 9, 30 + SETTLES_AFTER / 2)
    found = times.measured(31)
    assert (found.seconds, found.observed_for, found.most_in_flight) == ({}, 0, 0)


def test_a_restarted_engine_is_measured_from_its_restart_on() -> None:
    times = following("a")
    times.record("a", reading(fast=0, slow=500), 1, 0)
    times.record("a", reading(fast=0, slow=1000), 1, 10)
    times.record("a", reading(fast=5), 1, 20)
    times.record("a", reading(fast=105), 1, 30)
    assert times.measured(30).seconds["ttft"] <= FAST


def test_a_replica_that_is_silent_does_not_count() -> None:
    times = following("a")
    times.record("a", reading(0), 1, 0)
    times.record("a", reading(100), 1, 30)
    assert times.measured(30 + STALE_AFTER + 1).seconds == {}


def test_what_is_kept_does_not_grow_with_time() -> None:
    times = following("a")
    for now in range(5000):
        times.record("a", reading(now), 1, now)
        assert len(times._readings.get("a", ())) <= 12
    assert len(times._in_flight) <= 61


def test_readings_of_a_replica_have_their_boundaries_once() -> None:
    times = following("a")
    for now in range(300):
        times.record("a", reading(now), 1, now)
    assert len({id(each.times["ttft"].boundaries) for each in times._readings["a"]}) == 1


def test_readings_that_are_left_out_further_back_change_no_percentile() -> None:
    times = following("a")
    for now in range(0, 600, 2):
        times.record("a", reading(fast=now // 10, slow=now // 30), 1, now)
    found = times.measured(598)
    assert found.rate == pytest.approx(1 / 10 + 1 / 30, rel=0.3)
    assert found.seconds["ttft"] > FAST


@pytest.mark.parametrize(
    ("numbers", "is_falling"),
    [([40, 36, 32, 28, 24, 20], True), ([4, 4, 4, 4, 4, 4], False), ([4, 8, 12, 16, 20, 24], False), ([9], False)],
)
def test_requests_in_flight_become_fewer(numbers: list[int], is_falling: bool) -> None:
    times = following("a")
    for at, number in enumerate(numbers):
        times.record("a", reading(at), number, at * 2)
    assert times.measured(20).is_falling is is_falling


def test_of_any_number_of_replicas_a_part_is_measured_and_stands_for_all() -> None:
    uids = [str(number) for number in range(4 * MOST_MEASURED)]
    times = following(*uids)
    for uid in uids:
        times.record(uid, reading(0), 1, 0)
    for uid in uids:
        times.record(uid, reading(60), 1, 60)
    assert len(times._readings) == MOST_MEASURED
    assert times.measured(60).rate == pytest.approx(4 * MOST_MEASURED)
    assert "ttft" in times.measured(60).seconds
