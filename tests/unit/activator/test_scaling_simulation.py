"""Hours of load on a model whose replicas follow its time to first token, by the real deciding code.

Each replica does two requests per second. One that has to wait is soon above the target of half a second, and requests
are spread at random: so it takes more replicas than the load alone needs.
"""

from __future__ import annotations

import math

import pytest
from support.fakes.scaling_simulation import ScalingSimulation


def rises(now: float) -> float:
    """To four times the load, after ten minutes."""
    return 1.0 if now < 600 else 4.0


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("loads_for", [30, 300])
def test_a_rise_of_the_load_is_met_however_long_a_replica_loads(seed: int, loads_for: float) -> None:
    simulation = ScalingSimulation(arrivals=rises, loads_for=loads_for, seed=seed).run(hours=2)
    assert simulation.share_within(since=1) > 0.95
    assert 4 <= simulation.most <= 12
    assert simulation.changes(since=1) <= 4


@pytest.mark.parametrize("load", [0.3, 1.0, 2.2])
def test_under_a_steady_load_the_number_stays(load: float) -> None:
    simulation = ScalingSimulation(arrivals=lambda now: load).run(hours=3)
    assert simulation.share_within(since=0.5) > 0.97
    assert simulation.changes(since=1) <= 2


def test_when_the_load_falls_one_replica_after_the_other_goes() -> None:
    simulation = ScalingSimulation(arrivals=lambda now: 4.0 if now < 1800 else 0.3).run(hours=2.5)
    assert simulation.most >= 4
    assert simulation.replicas == 1
    numbers = [number for at, number in simulation.history if at > 2400]
    assert numbers == sorted(numbers, reverse=True)


def test_the_load_of_a_day_is_followed_with_few_changes() -> None:
    def day(now: float) -> float:
        return 1.6 - 1.4 * math.cos(now / (6 * 3600) * 2 * math.pi)  # a day of six hours

    simulation = ScalingSimulation(arrivals=day).run(hours=6)
    assert simulation.share_within(since=0) > 0.95
    assert simulation.replicas < simulation.most / 2
    assert simulation.changes() <= 24


@pytest.mark.parametrize("clients", [1, 2])
def test_what_more_replicas_do_not_make_faster_adds_no_more_than_requests(clients: int) -> None:
    """Prompts whose first token takes three seconds, when nothing else runs."""
    simulation = ScalingSimulation(clients=clients, prefill=3.0, takes=5.0).run(hours=1)
    assert simulation.most <= clients


def test_several_activators_that_answer_alternately_change_nothing_more_often() -> None:
    simulation = ScalingSimulation(arrivals=rises, activators=3).run(hours=2)
    assert simulation.share_within(since=1) > 0.95
    assert simulation.most <= 12
    assert simulation.changes(since=1) <= 4


def test_activators_that_restart_keep_the_number() -> None:
    simulation = ScalingSimulation(arrivals=lambda now: 3.0).run(hours=1)
    before = simulation.replicas
    simulation.restart_activators()
    simulation.run(hours=0.05)
    assert simulation.replicas == before


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_pod_that_is_replaced_changes_nothing(seed: int) -> None:
    """Though five times as many requests are in flight as by the concurrency, because the target lets them wait."""
    simulation = ScalingSimulation(
        clients=40, target=10.0, slots=8, takes=2.0, concurrency=4, at_least=2, seed=seed
    ).run(hours=0.5)
    assert simulation.replicas == 2
    simulation.replace_pod()
    simulation.run(hours=1)
    assert simulation.most == 2
