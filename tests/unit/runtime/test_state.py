"""The state of a pod after each event, and the actions that follow."""

from __future__ import annotations

from itertools import product

import pytest
from slipway_runtime.supervisor.state import TABLE, Action, Event, PodState, step
from slipway_runtime.supervisor.timeouts import Timeouts

A, E, S = Action, Event, PodState


def walk(*events: Event, state: PodState = S.STARTING) -> tuple[PodState, list[Action]]:
    done: list[Action] = []
    for event in events:
        state, actions = step(state, event)
        done += actions
    return state, done


def test_an_engine_that_responds_is_ready() -> None:
    assert walk(E.ANSWERS) == (S.READY, [])


def test_a_stop_during_loading_kills_without_a_drain() -> None:
    assert walk(E.STOP) == (S.STOPPING, [A.KILL])


def test_a_stop_while_serving_drains_and_then_ends_the_engine() -> None:
    ready = walk(E.ANSWERS)[0]
    assert walk(E.STOP, state=ready) == (S.LEAVING, [])
    assert walk(E.STOP, E.TIME_UP, state=ready) == (S.DRAINING, [A.REFUSE])
    assert walk(E.STOP, E.TIME_UP, E.IDLE, state=ready) == (S.STOPPING, [A.REFUSE, A.TERMINATE])
    assert walk(E.STOP, E.TIME_UP, E.IDLE, E.ENGINE_ENDED, state=ready)[0] == S.ENDED


def test_requests_that_outlive_the_drain_are_cut_off() -> None:
    assert walk(E.TIME_UP, state=S.DRAINING) == (S.CUTTING, [A.CUT])
    assert walk(E.TIME_UP, state=S.CUTTING) == (S.STOPPING, [A.TERMINATE])


def test_an_engine_that_does_not_end_is_killed() -> None:
    assert walk(E.TIME_UP, state=S.STOPPING) == (S.STOPPING, [A.KILL])


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (S.LEAVING, (S.CUTTING, [A.REFUSE, A.CUT])),
        (S.DRAINING, (S.CUTTING, [A.CUT])),
        (S.CUTTING, (S.STOPPING, [A.KILL])),
        (S.STOPPING, (S.STOPPING, [A.KILL])),
    ],
)
def test_a_second_stop_hurries(state: PodState, outcome: tuple[PodState, list[Action]]) -> None:
    assert walk(E.STOP, state=state) == outcome


def test_a_start_that_takes_too_long_is_a_failure() -> None:
    assert walk(E.TIME_UP) == (S.STOPPING, [A.BLAME_THE_START, A.KILL])


def test_a_second_attempt_that_must_fail_like_the_first_is_not_waited_for() -> None:
    assert walk(E.FUTILE) == (S.STOPPING, [A.BLAME_THE_ENGINE, A.KILL])


@pytest.mark.parametrize("state", [S.STARTING, S.READY, S.LEAVING, S.DRAINING, S.CUTTING])
def test_an_engine_that_ends_without_a_stop_is_a_failure(state: PodState) -> None:
    assert step(state, E.ENGINE_ENDED) == (S.ENDED, (A.BLAME_THE_ENGINE,))


def test_an_engine_that_ends_after_a_stop_is_not_a_failure() -> None:
    assert step(S.STOPPING, E.ENGINE_ENDED) == (S.ENDED, ())


@pytest.mark.parametrize("state", [S.READY, S.LEAVING, S.DRAINING])
def test_a_stuck_engine_is_a_failure_and_is_killed(state: PodState) -> None:
    assert step(state, E.STUCK) == (S.STOPPING, (A.BLAME_THE_ENGINE, A.KILL))


def test_nothing_happens_after_the_end() -> None:
    assert all(step(S.ENDED, event) == (S.ENDED, ()) for event in Event)


@pytest.mark.parametrize(("state", "event"), list(product(PodState, Event)), ids=str)
def test_no_event_leads_to_an_earlier_state(state: PodState, event: Event) -> None:
    order = list(PodState)
    assert order.index(step(state, event)[0]) >= order.index(state)


@pytest.mark.parametrize("state", [state for state in PodState if state is not S.ENDED])
def test_a_stop_leads_to_the_end_from_every_state_if_time_passes(state: PodState) -> None:
    end, done = walk(E.STOP, *[E.TIME_UP] * 4, E.ENGINE_ENDED, state=state)
    assert end == S.ENDED
    assert {A.KILL, A.TERMINATE} & set(done)


def test_every_state_that_ends_by_time_has_a_limit() -> None:
    limited = {state for state, event in TABLE if event is E.TIME_UP} - {S.STOPPING}  # this limit is the engine's
    assert {state for state in PodState if Timeouts().of(state) is not None} == limited


@pytest.mark.parametrize(("state", "event"), [row for row in TABLE if row[0] in (S.READY, S.LEAVING)], ids=str)
def test_only_a_pod_that_serves_admits_requests(state: PodState, event: Event) -> None:
    """Every transition out of these two states refuses new requests, or leaves no engine that could respond."""
    after, actions = step(state, event)
    assert after is S.LEAVING or {A.REFUSE, A.KILL} & set(actions) or after is S.ENDED
