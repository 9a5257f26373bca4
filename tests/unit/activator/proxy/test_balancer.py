"""Which replica gets a request, and when a failed attempt may be followed by another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slipway.activator.proxy.balancer import DIFFERENT, Balancer
from slipway.activator.proxy.retry_policy import MOST_TRIES, RETRIED, WITHOUT_WORK, UpstreamFailure, may_retry
from slipway.activator.shared.replica import Replica

ONE, TWO = Replica("10.0.0.1", 8080, 2), Replica("10.0.0.2", 8080, 2)


def balancer_of(*ready: Replica) -> Balancer:
    replicas = Balancer()
    replicas.set(ready)
    return replicas


def picked(replicas: Balancer, now: float = 0.0) -> Replica | None:
    replica = replicas.pick(now)
    if replica:
        replicas.take(replica)
    return replica


def test_no_replica_is_picked_where_none_is_ready() -> None:
    assert balancer_of().pick(0.0) is None


def test_the_replica_with_the_fewest_requests_is_picked() -> None:
    replicas = balancer_of(ONE, TWO)
    replicas.take(ONE)
    assert replicas.pick(0.0) == TWO


def test_of_equal_replicas_each_is_picked_in_turn() -> None:
    replicas = balancer_of(ONE, TWO)
    order = []
    for _ in range(4):
        replica = picked(replicas)
        assert replica
        order.append(replica)
        replicas.give_back(replica)
    assert order == [ONE, TWO, ONE, TWO]


def test_no_replica_gets_more_than_its_limit() -> None:
    replicas = balancer_of(ONE)
    assert [picked(replicas) for _ in range(3)] == [ONE, ONE, None]


def test_a_replica_to_be_avoided_is_not_picked() -> None:
    replicas = balancer_of(ONE, TWO)
    assert replicas.pick(0.0, {ONE.address}) == TWO
    assert replicas.pick(0.0, {ONE.address, TWO.address}) is None


def test_a_replica_at_which_one_client_fails_is_picked_as_before() -> None:
    replicas = balancer_of(ONE)
    for _ in range(10):
        replicas.failed(ONE, "client", 0.0)
    assert replicas.pick(0.0) == ONE


def test_a_replica_rests_when_different_clients_fail_in_a_row() -> None:
    replicas = balancer_of(ONE)
    for client in range(DIFFERENT - 1):
        replicas.failed(ONE, client, 0.0)
    replicas.succeeded(ONE)
    for client in range(DIFFERENT - 1):
        replicas.failed(ONE, client, 0.0)
    assert replicas.pick(0.0) == ONE
    replicas.failed(ONE, "another", 0.0)
    assert replicas.pick(0.0) is None


def test_a_replica_that_refuses_requests_rests_longer_each_time() -> None:
    replicas = balancer_of(ONE)
    rest_times, now = [], 0.0
    for _ in range(7):
        replicas.turned_away(ONE, now)
        rested = replicas.next_available(now)
        assert rested
        assert replicas.pick(now) is None
        rest_times.append(round(rested - now, 3))
        now = rested
        assert replicas.pick(now) == ONE
    assert rest_times == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_a_success_ends_the_rests() -> None:
    replicas = balancer_of(ONE)
    for _ in range(5):
        replicas.turned_away(ONE, 0.0)
    replicas.succeeded(ONE)
    replicas.turned_away(ONE, 100.0)
    assert replicas.next_available(100.0) == pytest.approx(100.1)


def test_a_replica_that_is_no_longer_ready_is_not_picked_but_counted_until_its_requests_end() -> None:
    replicas = balancer_of(ONE)
    replicas.take(ONE)
    replicas.set([TWO])
    assert (replicas.pick(0.0), replicas.in_flight) == (TWO, 1)
    replicas.give_back(ONE)
    assert replicas.in_flight == 0


def test_a_replica_that_returns_still_has_its_requests() -> None:
    replicas = balancer_of(ONE)
    replicas.take(ONE)
    replicas.take(ONE)
    replicas.set([])
    replicas.set([ONE])
    assert replicas.pick(0.0) is None


@pytest.mark.parametrize("failure", UpstreamFailure)
@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("replayable", [False, True])
@pytest.mark.parametrize("tries", [1, MOST_TRIES - 1, MOST_TRIES, 100])
def test_another_attempt_follows_only_while_nothing_was_sent_and_few_replicas_worked_in_vain(
    failure: UpstreamFailure, sent: bool, replayable: bool, tries: int
) -> None:
    ever = (
        failure not in (UpstreamFailure.CUT, UpstreamFailure.NONSENSE, UpstreamFailure.SILENT)
        and not sent
        and replayable
    )
    cheap = failure in (UpstreamFailure.NO_CONNECTION, UpstreamFailure.TURNED_AWAY)
    expected = ever and (cheap or tries < 3)
    assert may_retry(failure, sent=sent, replayable=replayable, tries=tries) == expected
    assert WITHOUT_WORK < RETRIED


REPLICAS = [Replica(f"10.0.0.{each}", 8080, each % 3 + 1) for each in range(4)]
STEPS = st.lists(
    st.one_of(st.just("pick"), st.just("back"), st.sets(st.sampled_from(REPLICAS)), st.sampled_from(REPLICAS)),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_no_replica_is_overloaded_and_nothing_is_miscounted(steps: list[object]) -> None:
    replicas, in_flight, ready = Balancer(), list[Replica](), set[Replica]()
    for now, step in enumerate(steps):
        if isinstance(step, set):
            ready = step
            replicas.set(ready)
        elif isinstance(step, Replica):
            replicas.turned_away(step, float(now))
        elif step == "back" and in_flight:
            replicas.give_back(in_flight.pop())
        elif step == "pick" and (replica := picked(replicas, float(now))):
            assert replica in ready
            in_flight.append(replica)
            assert in_flight.count(replica) <= replica.max_concurrency
        assert replicas.in_flight == len(in_flight)
