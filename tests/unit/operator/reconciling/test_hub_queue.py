"""Which model the Hub is asked about next, how many may wait, and how fast requests follow each other."""

from __future__ import annotations

import pytest
from slipway.api.model_key import ModelKey
from slipway.operator.reconciling import hub_queue as module
from slipway.operator.reconciling.hub_queue import AT_FIRST, EVERY, MOST_OF_A_NAMESPACE, HubQueue, Pace


def key(number: int, namespace: str = "chat") -> ModelKey:
    return ModelKey(namespace, f"model-{number}")


def filled(queue: HubQueue, number: int, namespace: str = "chat") -> list[bool]:
    return [queue.add(key(each, namespace), (f"{namespace}/{each}", "main")) for each in range(number)]


def taken(queue: HubQueue) -> list[str]:
    found = []
    while wanted := queue.take():
        found.append(wanted[0])
    return found


def test_namespaces_take_turns() -> None:
    queue = HubQueue()
    filled(queue, 4)
    filled(queue, 2, "code")
    assert taken(queue) == ["chat/0", "code/0", "chat/1", "code/1", "chat/2", "chat/3"]


def test_a_file_that_two_namespaces_want_is_fetched_once_at_the_turn_of_the_first() -> None:
    queue = HubQueue()
    filled(queue, 20)
    queue.add(key(1, "code"), ("chat/19", "main"))
    assert taken(queue)[:2] == ["chat/0", "chat/19"]
    concerned, _ = queue.done(("chat/19", "main"))
    assert concerned == {key(19), key(1, "code")}


def test_what_is_wanted_while_it_is_fetched_is_not_fetched_again() -> None:
    queue = HubQueue()
    filled(queue, 1)
    wanted = queue.take()
    assert wanted
    assert queue.add(key(7), wanted)
    assert queue.take() is None
    assert queue.done(wanted)[0] == {key(0), key(7)}


def test_a_namespace_has_no_more_places_than_it_may_and_the_others_keep_theirs() -> None:
    queue = HubQueue()
    assert filled(queue, MOST_OF_A_NAMESPACE + 3) == [True] * MOST_OF_A_NAMESPACE + [False] * 3
    assert filled(queue, 1, "code") == [True]
    assert len(queue) == MOST_OF_A_NAMESPACE + 1


def test_all_namespaces_together_have_no_more_places_and_each_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 60)
    queue = HubQueue()
    filled(queue, MOST_OF_A_NAMESPACE)
    assert filled(queue, 20, "code") == [True] * 10 + [False] * 10
    assert filled(queue, 2, "late") == [True, False]


def test_those_that_found_no_place_come_back_one_by_one_in_their_order() -> None:
    queue = HubQueue()
    filled(queue, MOST_OF_A_NAMESPACE + 2)
    for number in range(2):
        wanted = queue.take()
        assert wanted
        _, have_a_place = queue.done(wanted)
        assert list(have_a_place) == [key(MOST_OF_A_NAMESPACE + number)]
        assert queue.add(key(MOST_OF_A_NAMESPACE + number), ("chat/late", str(number)))
    wanted = queue.take()
    assert wanted
    assert list(queue.done(wanted)[1]) == []


def test_one_that_finds_no_place_again_keeps_its_place_in_the_line() -> None:
    queue = HubQueue()
    filled(queue, MOST_OF_A_NAMESPACE + 2)
    assert not queue.add(key(MOST_OF_A_NAMESPACE), ("chat/another", "main"))
    wanted = queue.take()
    assert wanted
    assert list(queue.done(wanted)[1]) == [key(MOST_OF_A_NAMESPACE)]


def test_as_many_come_back_as_there_are_places_so_that_one_that_takes_none_leaves_no_other_behind() -> None:
    queue = HubQueue()
    filled(queue, MOST_OF_A_NAMESPACE + 30)
    first, second = queue.take(), queue.take()
    assert first
    assert second
    assert list(queue.done(first)[1]) == [key(MOST_OF_A_NAMESPACE + each) for each in range(2)]
    assert list(queue.done(second)[1]) == [key(MOST_OF_A_NAMESPACE + each) for each in (2, 3)]


def test_all_come_back_when_no_file_of_their_namespace_waits_any_more() -> None:
    queue = HubQueue()
    filled(queue, 2 * MOST_OF_A_NAMESPACE + 30)
    wanted = [queue.take() for _ in range(MOST_OF_A_NAMESPACE)]
    assert wanted[0]
    assert len(queue.done(wanted[0])[1]) == MOST_OF_A_NAMESPACE + 30


def test_one_whose_model_is_gone_does_not_come_back() -> None:
    queue = HubQueue()
    filled(queue, MOST_OF_A_NAMESPACE + 2)
    queue.forget(key(MOST_OF_A_NAMESPACE))
    queue.forget(key(0, "another"))
    wanted = queue.take()
    assert wanted
    assert list(queue.done(wanted)[1]) == [key(MOST_OF_A_NAMESPACE + 1)]


def test_the_first_requests_follow_each_other_immediately_and_the_others_at_a_pace() -> None:
    pace = Pace()
    pauses = [pace.pause(0.0, 0.5) for _ in range(AT_FIRST + 4)]
    assert pauses[:AT_FIRST] == [0.0] * AT_FIRST
    assert pauses[AT_FIRST:] == [EVERY, 2 * EVERY, 3 * EVERY, 4 * EVERY]
    assert pace.pause(1000.0, 0.5) == 0.0


def test_chance_spreads_requests() -> None:
    pace = Pace()
    assert len({pace.pause(0.0, jitter) for jitter in [0.1, 0.9, 0.3, 0.7] * 5}) > 5


def test_a_hub_that_is_busy_gets_no_request_until_it_wants_one() -> None:
    pace = Pace()
    pace.wait_until(60.0)
    assert pace.pause(0.0, 0.5) == 60.0
