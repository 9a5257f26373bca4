"""The rules of the work queue: which key is handled when, and by how many workers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slipway.kube.queue_backlog import Backlog
from slipway.kube.queue_backoff import QueueBackoff

KEYS = ["a", "b", "c"]


@pytest.fixture
def backlog() -> Backlog[str]:
    return Backlog(QueueBackoff(first=1.0, longest=10.0))


def test_a_key_added_many_times_is_worked_on_once(backlog: Backlog[str]) -> None:
    backlog.add("a", 0)
    backlog.add("a", 1)
    assert backlog.take(2) == "a"
    assert backlog.take(2) is None


def test_the_key_that_has_waited_longest_comes_first(backlog: Backlog[str]) -> None:
    backlog.add("b", 0)
    backlog.add("a", 1)
    backlog.add("b", 2)
    assert [backlog.take(3), backlog.take(3)] == ["b", "a"]


def test_a_key_added_while_it_is_worked_on_is_not_given_to_a_second_worker(backlog: Backlog[str]) -> None:
    backlog.add("a", 0)
    backlog.take(0)
    backlog.add("a", 1)
    assert backlog.take(1) is None


def test_a_key_added_while_it_is_worked_on_is_worked_on_again_afterwards(backlog: Backlog[str]) -> None:
    backlog.add("a", 0)
    backlog.take(0)
    backlog.add("a", 1)
    backlog.done("a", 2)
    assert backlog.take(2) == "a"


def test_a_key_due_while_it_is_worked_on_is_worked_on_again_afterwards(backlog: Backlog[str]) -> None:
    backlog.add("a", 0)
    backlog.take(0)
    backlog.add_at("a", 1)
    assert backlog.take(5) is None
    backlog.done("a", 5)
    assert backlog.take(5) == "a"


def test_a_failed_key_has_a_backoff_that_doubles_up_to_a_limit(backlog: Backlog[str]) -> None:
    waits, now = [], 0.0
    backlog.add("a", now)
    for _ in range(6):
        assert backlog.take(now) == "a"
        waits.append(backlog.failed("a", now, jitter=1.0))
        assert backlog.take(now + waits[-1] - 0.01) is None
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 10, 10]


def test_a_success_resets_the_backoff(backlog: Backlog[str]) -> None:
    backlog.add("a", 0)
    backlog.take(0)
    backlog.failed("a", 0, jitter=1.0)
    backlog.take(1)
    backlog.done("a", 1)
    backlog.add("a", 2)
    backlog.take(2)
    assert backlog.failed("a", 2, jitter=1.0) == 1


def test_a_changed_key_is_worked_on_immediately_however_often_it_has_failed(backlog: Backlog[str]) -> None:
    backlog.add("a", 0)
    backlog.take(0)
    backlog.failed("a", 0, jitter=1.0)
    backlog.add("a", 0.1)
    assert backlog.take(0.1) == "a"


def test_of_two_times_the_earlier_one_counts(backlog: Backlog[str]) -> None:
    backlog.add_at("a", 9)
    backlog.add_at("a", 5)
    backlog.add_at("a", 7)
    assert backlog.next_due() == 5
    assert backlog.take(5) == "a"
    backlog.done("a", 5)
    assert backlog.take(100) is None


def test_a_forgotten_key_does_not_come_back_on_its_own(backlog: Backlog[str]) -> None:
    backlog.add_at("a", 5)
    backlog.forget("a")
    assert backlog.next_due() is None
    assert backlog.take(9) is None


def test_depth_and_age_count_the_waiting_keys(backlog: Backlog[str]) -> None:
    assert (backlog.depth(), backlog.age(9)) == (0, 0)
    backlog.add("a", 1)
    backlog.add("b", 4)
    backlog.add_at("c", 50)
    assert (backlog.depth(), backlog.age(9)) == (2, 8)


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "add_at", "take", "done", "failed", "wait"]), st.sampled_from(KEYS), st.integers(0, 5)
    ),
    max_size=60,
)


@given(steps)
def test_in_any_order_of_calls_no_change_is_lost_and_no_key_has_two_workers(
    steps: list[tuple[str, str, int]],
) -> None:
    backlog: Backlog[str] = Backlog(QueueBackoff(first=1.0, longest=4.0))
    now, working, to_do = 0.0, set[str](), set[str]()
    for step, key, seconds in steps:
        match step:
            case "add":
                backlog.add(key, now)
                to_do.add(key)
            case "add_at":
                backlog.add_at(key, now + seconds)
                to_do.add(key)
            case "take":
                taken = backlog.take(now)
                assert taken not in working
                working |= {taken} if taken else set()
                to_do -= {taken} if taken else set()
            case "done" if key in working:
                backlog.done(key, now)
                working.remove(key)
            case "failed" if key in working:
                backlog.failed(key, now, jitter=0.5)
                working.remove(key)
                to_do.add(key)
            case "wait":
                now += seconds
    for key in working:
        backlog.done(key, now)
    now += 100
    while (left := backlog.take(now)) is not None:
        backlog.done(left, now)
        to_do.discard(left)
    assert to_do == set()
    assert backlog.next_due() is None


def test_a_key_that_is_reconciled_often_does_not_pile_up_timers() -> None:
    backlog: Backlog[str] = Backlog()
    for moment in range(10_000):
        backlog.add("a", moment)
        assert backlog.take(moment) == "a"
        backlog.add_at("a", moment + 600)
        backlog.done("a", moment)
    assert len(backlog._timers) < 200
    assert backlog.next_due() == 9_999 + 600
