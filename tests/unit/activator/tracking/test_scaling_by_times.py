"""How many replicas meet the targets of times: the decision as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from slipway.activator.shared.by_times import ByTimes
from slipway.activator.shared.demand import ModelDemand
from slipway.activator.tracking.measured_times import Measured
from slipway.activator.tracking.scaling_by_times import REMEMBERS_FOR, Replicas, ScalingByTimes

TARGETS = {"ttft": 0.5, "tpot": 0.04}
BUSY = Measured(observed_for=120, rate=10, most_in_flight=50)


def replicas(ready: int, wanted: int | None = None) -> Replicas:
    return Replicas(ready=ready, wanted=ready if wanted is None else wanted, concurrency=64)


def measured(ttft: float | None = None, tpot: float | None = None, of: Measured = BUSY) -> Measured:
    found = {"ttft": ttft, "tpot": tpot}
    return replace(of, seconds={name: seconds for name, seconds in found.items() if seconds is not None})


def decided(what: Measured, of: Replicas) -> ByTimes:
    return ScalingByTimes().decide(TARGETS, what, of, 0)


@pytest.mark.parametrize(
    ("what", "of", "wanted"),
    [
        (measured(0.5), replicas(1), 1),
        (measured(0.54), replicas(1), 1),
        (measured(0.6), replicas(1), 2),
        (measured(60.0), replicas(1), 2),
        (measured(60.0), replicas(4), 8),
        (measured(0.7), replicas(4), 5),
        (measured(0.1, 0.16), replicas(2), 4),
        (measured(2.0), replicas(1, 2), 2),
        (measured(60.0), replicas(1, 2), 2),
        (measured(60.0), replicas(2, 3), 4),
        (measured(0.7), replicas(10), 12),
        (measured(0.57), replicas(20), 23),
        (measured(60.0, of=replace(BUSY, observed_for=10)), replicas(1), 1),
        (measured(60.0, of=replace(BUSY, is_falling=True)), replicas(2), 2),
        (measured(60.0, of=replace(BUSY, most_in_flight=1)), replicas(1), 1),
        (measured(60.0, of=replace(BUSY, most_in_flight=3)), replicas(3), 3),
        (measured(60.0, of=replace(BUSY, most_in_flight=3)), replicas(2), 3),
        (measured(0.35), replicas(2), 2),
        (measured(0.15), replicas(2), 1),
        (measured(0.15), replicas(1), 1),
        (measured(0.15, 0.03), replicas(2), 2),
        (measured(0.15), replicas(2, 3), 3),
        (measured(0.15, of=replace(BUSY, observed_for=50)), replicas(2), 2),
        (measured(0.15, of=replace(BUSY, most_in_flight=65)), replicas(2), 2),
        (measured(0.1), replicas(20), 17),
    ],
    ids=[
        "at the target", "within the tolerance", "a little too slow", "far too slow: doubled", "of four, too",
        "as the root of the ratio", "the worst time decides", "one that loads counts as if it served",
        "even if far too slow", "but two aren't three", "a step that the HPA follows", "and of many",
        "not measured for long enough", "they catch up", "alone in its replica", "as many as replicas",
        "no more than requests", "fast, but not fast enough for less", "fast", "the last one stays",
        "one of two times is not fast", "one still loads", "not measured for a minute", "too many at a time for one",
        "a step that the HPA follows, downwards",
    ],
)  # fmt: skip
def test_replicas_follow_times(what: Measured, of: Replicas, wanted: int) -> None:
    found = decided(what, of)
    assert (found.replicas, found.by_requests) == (wanted, False)


@pytest.mark.parametrize(
    ("most", "of", "observed_for", "wanted", "by_requests"),
    [(0, replicas(3), 120, 2, True), (1, replicas(3), 120, 2, True), (3, replicas(3), 120, 3, True),
     (0, replicas(3), 50, 3, False), (80, replicas(3), 0, 3, False), (0, replicas(1), 120, 1, True),
     (0, replicas(0, 2), 120, 2, True), (0, replicas(0, 2), 0, 2, True), (0, replicas(2, 3), 120, 3, True)],
    ids=["idle", "nearly", "each has one", "not for a minute", "other ones are ready", "the last one stays",
         "none is ready", "nor was", "one loads"],
)  # fmt: skip
def test_without_enough_requests_replicas_are_removed_one_by_one(
    most: float, of: Replicas, observed_for: float, wanted: int, by_requests: bool
) -> None:
    found = decided(Measured(observed_for=observed_for, most_in_flight=most), of)
    assert (found.replicas, found.by_requests) == (wanted, by_requests)


def test_it_is_said_what_is_followed() -> None:
    found = decided(measured(0.123456, 0.16), replicas(1))
    assert (found.follows, found.seconds, found.target) == ("tpot", 0.16, 0.04)


def test_a_load_that_was_too_much_is_not_tried_again_for_hours() -> None:
    scaling, quiet = ScalingByTimes(), measured(0.1)
    assert scaling.decide(TARGETS, measured(2.0, of=replace(BUSY, rate=3)), replicas(1), 0).replicas == 2
    assert scaling.decide(TARGETS, replace(quiet, rate=2.5), replicas(2), 600).replicas == 2
    assert scaling.decide(TARGETS, replace(quiet, rate=2.0), replicas(2), 600).replicas == 1
    assert scaling.decide(TARGETS, replace(quiet, rate=2.5), replicas(2), REMEMBERS_FOR + 1).replicas == 1


@pytest.mark.parametrize(
    ("by_times", "requests", "expected"),
    [
        (None, 20, 2.5),
        (ByTimes(3), 80, 3),
        (ByTimes(1, by_requests=True), 4, 1),
        (ByTimes(1, by_requests=True), 12, 2),
        (ByTimes(1, by_requests=True), 80, 2),
        (ByTimes(0, by_requests=True), 80, 2),
        (ByTimes(4, by_requests=True), 40, 5),
    ],
    ids=["by requests", "by times", "few requests", "more", "at most doubled", "at zero", "of several"],
)
def test_where_times_say_nothing_the_requests_in_flight_do(
    by_times: ByTimes | None, requests: int, expected: float
) -> None:
    demand = ModelDemand(active=True, waiting=2, target_per_replica=8, running=requests - 2, by_times=by_times)
    assert demand.replicas == expected
