"""The request queue of one model in virtual time: which requests wait, which is next, and what is wanted meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

import pytest
from slipway.activator.proxy.admission import GlobalLimits, HeldRequest, WaitingRoom
from slipway.activator.proxy.balancer import DIFFERENT
from slipway.activator.proxy.client_identity import Client
from slipway.activator.proxy.error_responses import RefusedRequestError
from slipway.activator.proxy.queued_request import QueuedRequest, ReplicaFuture
from slipway.activator.proxy.request_queue import MOST_CALLS, RequestQueue
from slipway.activator.proxy.retry_policy import UpstreamFailure
from slipway.activator.shared.demand import Demand, UnknownModelError
from slipway.activator.shared.hold_limits import HoldLimits
from slipway.activator.shared.model_state import ModelState
from slipway.activator.shared.replica import Replica
from slipway.api.model_key import ModelKey
from slipway.api.reasons import Reason
from slipway.observing.cause import Cause
from support.fakes import virtual_time

LLAMA = ModelKey("chat", "llama")
GONE = Cause(Reason.MODEL_NOT_FOUND, "There is no model acme/gone.", final=True)
NO_NODE = Cause(Reason.UNSCHEDULABLE, "No node has room.")
ONE, TWO = Replica("10.0.0.1", 8080, 1), Replica("10.0.0.2", 8080, 1)


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        virtual_time.run(test())

    del run.__wrapped__  # or pytest would treat it as asynchronous
    return run


def replace_concurrency(replica: Replica, at_a_time: int) -> Replica:
    return replica._replace(max_concurrency=at_a_time)


class Scene:
    """One queue, and requests in it that last until they leave."""

    def __init__(self, **fields: Any) -> None:
        self.known = ModelState(key=LLAMA, port=0, **{"limits": HoldLimits(timeout=100), **fields})
        self.demand = Demand()
        self.queue = RequestQueue(self.known, GlobalLimits(), self.demand)
        self._open: list[QueuedRequest] = []

    def update(self, **changes: Any) -> None:
        self.known = replace(self.known, **changes)
        self.queue.update(self.known)

    def enter(self, client: str = "one") -> QueuedRequest:
        request = self.queue.enter(Client(client))
        self._open.append(request)
        return request

    def ask(self, client: str = "one") -> tuple[QueuedRequest, ReplicaFuture]:
        request = self.enter(client)
        return request, self.queue.queue(request)

    def leave(self, request: QueuedRequest) -> None:
        self._open.remove(request)
        self.queue.leave(request)

    @property
    def requests(self) -> list[QueuedRequest]:
        return list(self._open)

    @property
    def is_active(self) -> bool:
        return self.demand.of(LLAMA).active


@in_virtual_time
async def test_a_request_that_finds_a_free_replica_does_not_wait() -> None:
    scene = Scene(replicas=(ONE,))
    request, turn = scene.ask()
    assert (turn.result(), request.was_held, request.held) == (ONE, False, 0.0)


@in_virtual_time
async def test_a_request_that_finds_no_free_replica_waits_for_one() -> None:
    scene = Scene()
    request, turn = scene.ask()
    assert not turn.done()
    await asyncio.sleep(30)
    scene.update(replicas=(ONE,))
    assert (turn.result(), request.was_held, request.held) == (ONE, True, 30.0)


@in_virtual_time
async def test_the_next_is_called_when_one_is_done() -> None:
    scene = Scene(replicas=(ONE,))
    first, _ = scene.ask()
    _, turn = scene.ask("two")
    scene.queue.responded(first)
    assert not turn.done()  # the replica still works on it
    scene.leave(first)
    assert turn.result() == ONE


@in_virtual_time
async def test_a_failed_attempt_is_followed_by_one_at_another_replica_in_the_old_turn() -> None:
    scene = Scene(replicas=(ONE, TWO))
    first, turn = scene.ask()
    second, _ = scene.ask("two")
    _, third_turn = scene.ask("three")
    assert turn.result() == ONE
    scene.queue.failed(first, UpstreamFailure.NO_CONNECTION)
    again = scene.queue.queue(first)
    scene.leave(second)
    assert (again.result(), third_turn.done()) == (TWO, False)


@pytest.mark.parametrize(
    "failure",
    [UpstreamFailure.NO_CONNECTION, UpstreamFailure.TURNED_AWAY, UpstreamFailure.UNAVAILABLE, UpstreamFailure.BROKEN],
)
def test_a_request_that_failed_is_tried_again_after_a_while(failure: UpstreamFailure) -> None:
    virtual_time.run(_fail_and_come_again(failure))


async def _fail_and_come_again(failure: UpstreamFailure) -> None:
    scene = Scene(replicas=(ONE,))
    request, _ = scene.ask()
    scene.queue.failed(request, failure)
    turn = scene.queue.queue(request)
    assert not turn.done()
    started = virtual_time.now()
    assert await turn == ONE
    assert virtual_time.now() - started == pytest.approx(0.1)


@in_virtual_time
async def test_a_replica_that_refuses_one_request_is_avoided_by_all() -> None:
    scene = Scene(replicas=(ONE,))
    request, _ = scene.ask()
    scene.queue.failed(request, UpstreamFailure.TURNED_AWAY)
    _, others = scene.ask("two")
    assert not others.done()
    await asyncio.sleep(0.1)
    assert others.done()


@in_virtual_time
async def test_a_request_that_fails_delays_no_other_even_if_it_is_older() -> None:
    scene = Scene(replicas=(ONE,))
    poisoned, _ = scene.ask()
    waiting, turn = scene.ask("two")
    for _ in range(2):
        scene.queue.failed(poisoned, UpstreamFailure.UNAVAILABLE)
        again = scene.queue.queue(poisoned)
        assert (turn.done(), again.done()) == (True, False)
        scene.leave(waiting)
        await again
        waiting, turn = scene.ask("two")


@in_virtual_time
async def test_many_failing_requests_of_one_client_delay_no_other() -> None:
    scene = Scene(replicas=(replace_concurrency(ONE, 100),))
    for _ in range(20):
        request, _ = scene.ask("greedy")
        scene.queue.failed(request, UpstreamFailure.UNAVAILABLE)
    _, turn = scene.ask("modest")
    assert turn.done()


@in_virtual_time
async def test_requests_that_fail_take_the_turns_of_their_own_client_alone() -> None:
    scene = Scene(replicas=(ONE,))
    under_way, _ = scene.ask("greedy")
    for _ in range(5):
        scene.ask("greedy")
    _, turn = scene.ask("modest")
    scene.queue.failed(under_way, UpstreamFailure.UNAVAILABLE)
    scene.queue.queue(under_way)
    await asyncio.sleep(0)
    called = next(request for request in scene.requests if request.replica)
    assert called.client == Client("greedy")  # the first to wait had arrived before the modest one
    scene.queue.failed(called, UpstreamFailure.UNAVAILABLE)
    scene.queue.queue(called)
    assert turn.done()


@in_virtual_time
async def test_a_request_that_avoids_a_replica_leaves_its_turn_to_the_next_one_of_its_client() -> None:
    scene = Scene(replicas=(ONE,))
    failing, _ = scene.ask("one")
    _, next_turn = scene.ask("one")
    _, other_turn = scene.ask("two")
    scene.queue.failed(failing, UpstreamFailure.UNAVAILABLE)
    again = scene.queue.queue(failing)
    assert (again.done(), next_turn.done(), other_turn.done()) == (False, True, False)


def test_failing_requests_are_checked_again_only_when_they_may_be_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[HeldRequest] = []
    call = WaitingRoom.call

    def counted(room: WaitingRoom[QueuedRequest]) -> HeldRequest:
        calls.append(call(room))
        return calls[-1]

    monkeypatch.setattr(WaitingRoom, "call", counted)
    virtual_time.run(_fail_often(calls))


async def _fail_often(calls: list[HeldRequest]) -> None:
    scene = Scene(replicas=(replace_concurrency(ONE, 10_000),), limits=HoldLimits(max_requests=10_000, timeout=100))
    for _ in range(300):
        request, _ = scene.ask()
        scene.queue.failed(request, UpstreamFailure.UNAVAILABLE)
        scene.queue.queue(request)
    assert scene.demand.of(LLAMA).waiting == 300
    await asyncio.sleep(0.2)
    assert all(request.replica for request in scene.requests)
    assert len(calls) == 3 * 300 - 1  # the first one found no request waiting, and took its replica immediately


@in_virtual_time
async def test_a_request_that_leaves_while_it_avoids_a_replica_is_not_called() -> None:
    scene = Scene(replicas=(ONE,))
    request, _ = scene.ask()
    scene.queue.failed(request, UpstreamFailure.UNAVAILABLE)
    scene.queue.queue(request)
    scene.leave(request)
    await asyncio.sleep(1)
    assert (scene.is_active, scene.demand.of(LLAMA).waiting) == (False, 0)


@in_virtual_time
async def test_only_some_get_their_turns_before_others_are_served() -> None:
    scene = Scene(limits=HoldLimits(max_requests=10_000, timeout=100))
    turns = [scene.ask()[1] for _ in range(3 * MOST_CALLS)]
    scene.update(replicas=(replace_concurrency(ONE, 10_000),))
    counts, started = set(), virtual_time.now()
    while not all(turn.done() for turn in turns):
        counts.add(sum(turn.done() for turn in turns))
        await asyncio.sleep(0)
    assert counts == {MOST_CALLS, 2 * MOST_CALLS}
    assert virtual_time.now() == started


@in_virtual_time
async def test_a_replica_at_which_all_clients_fail_is_left_alone() -> None:
    scene = Scene(replicas=(replace_concurrency(ONE, 100),))
    for client in range(DIFFERENT):
        request, _ = scene.ask(f"client {client}")
        scene.queue.failed(request, UpstreamFailure.UNAVAILABLE)
    _, turn = scene.ask("one more")
    assert not turn.done()


@in_virtual_time
async def test_an_incomplete_request_creates_no_demand() -> None:
    scene = Scene()
    request = scene.enter()
    assert (scene.is_active, scene.demand.of(LLAMA).waiting) == (False, 0)
    scene.queue.queue(request)
    assert (scene.is_active, scene.demand.of(LLAMA).waiting) == (True, 1)


@in_virtual_time
async def test_a_final_cause_refuses_all_waiting_and_all_new_requests() -> None:
    scene = Scene()
    _, turn = scene.ask()
    reading = scene.enter("two")
    scene.update(cause=GONE)
    for late in (turn, scene.queue.queue(reading)):
        with pytest.raises(RefusedRequestError, match="acme/gone"):
            late.result()
    with pytest.raises(RefusedRequestError, match="acme/gone"):
        scene.enter("three")


@in_virtual_time
async def test_when_the_cause_is_gone_the_next_request_may_wait_again() -> None:
    scene = Scene(cause=GONE)
    scene.update(cause=None)
    _, turn = scene.ask()
    assert not turn.done()
    assert scene.is_active


@in_virtual_time
async def test_a_wake_lasts_until_a_replica_is_ready_though_its_client_has_left() -> None:
    scene = Scene()
    request, _ = scene.ask()
    scene.leave(request)
    await asyncio.sleep(60)
    assert (scene.is_active, scene.queue.waking_for) == (True, 60.0)
    scene.update(replicas=(ONE,))
    assert (scene.is_active, scene.queue.waking_for) == (False, 0.0)


@in_virtual_time
async def test_a_wake_ends_when_it_has_finally_failed() -> None:
    scene = Scene()
    request, _ = scene.ask()
    scene.leave(request)
    scene.update(cause=NO_NODE)
    assert scene.is_active
    scene.update(cause=GONE)
    assert not scene.is_active


@in_virtual_time
async def test_a_deployment_in_use_elsewhere_stays_wanted() -> None:
    scene = Scene(in_use=True, replicas=(ONE,))
    assert scene.is_active
    scene.update(in_use=False)
    assert not scene.is_active


@in_virtual_time
async def test_a_request_under_way_keeps_its_deployment_wanted_until_its_end() -> None:
    scene = Scene(replicas=(ONE,))
    request, _ = scene.ask()
    scene.queue.responded(request)
    assert scene.is_active
    scene.leave(request)
    assert not scene.is_active


@in_virtual_time
async def test_a_refused_client_learns_when_the_wake_should_be_over() -> None:
    scene = Scene(limits=HoldLimits(max_requests=1, timeout=100), expected_wake=80.0)
    scene.ask()
    await asyncio.sleep(30)
    with pytest.raises(RefusedRequestError) as refused:
        scene.enter("two")
    assert refused.value.error.retry_after == 50


@in_virtual_time
async def test_a_refused_client_of_a_busy_deployment_may_retry_soon() -> None:
    scene = Scene(limits=HoldLimits(max_requests=1, timeout=100), expected_wake=80.0, replicas=(ONE,))
    scene.ask()
    scene.ask("two")
    with pytest.raises(RefusedRequestError) as refused:
        scene.enter("three")
    assert refused.value.error.retry_after == 1


@in_virtual_time
async def test_a_deleted_deployment_is_no_longer_wanted() -> None:
    scene = Scene()
    request, turn = scene.ask()
    scene.queue.close()
    with pytest.raises(RefusedRequestError, match="deleted"):
        turn.result()
    with pytest.raises(UnknownModelError):
        scene.demand.of(LLAMA)
    scene.leave(request)


@in_virtual_time
async def test_a_refusal_of_a_request_that_has_left_has_no_effect() -> None:
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    scene = Scene()
    request, turn = scene.ask()
    scene.update(cause=GONE)
    scene.leave(request)
    del request, turn, scene
    assert errors == []


@in_virtual_time
async def test_a_request_that_was_sent_immediately_and_failed_waits_among_the_others() -> None:
    scene = Scene(replicas=(replace_concurrency(ONE, 2),))
    first, _ = scene.ask()
    second, _ = scene.ask()
    _, third = scene.ask()
    for request in (second, first):
        scene.queue.failed(request, UpstreamFailure.TURNED_AWAY)
        scene.queue.queue(request)
    await asyncio.sleep(1)
    assert (bool(first.replica), bool(second.replica), third.done()) == (True, True, False)  # in order of arrival


@in_virtual_time
async def test_a_request_that_finds_a_free_replica_takes_no_turn_of_those_that_wait_for_others() -> None:
    scene = Scene(replicas=(ONE,))
    _, waits = scene.ask("one")[0], scene.ask("two")[1]
    _, late = scene.ask("three")
    scene.update(replicas=(ONE, TWO))
    assert (waits.done(), late.done()) == (True, False)


# --- a spent budget ---------------------------------------------------------------------------------------------------

TOMORROW = datetime.now(UTC) + timedelta(days=1)


@in_virtual_time
async def test_a_spent_budget_refuses_the_next_request_though_a_replica_is_free() -> None:
    scene = Scene(replicas=(ONE,), refused_until=TOMORROW)
    with pytest.raises(RefusedRequestError) as refused:
        scene.enter()
    error = refused.value.error
    assert (error.status, error.reason, error.type) == (429, "budget_spent", "rate_limit_error")
    assert f"until {TOMORROW:%Y-%m-%d %H:%M:%S} UTC" in error.message
    assert 85_000 < (error.retry_after or 0) <= 86_460


@in_virtual_time
async def test_a_spent_budget_refuses_those_that_wait_and_ends_the_wake() -> None:
    scene = Scene()
    _, one = scene.ask()
    _, two = scene.ask("two")
    assert scene.is_active
    scene.update(refused_until=TOMORROW)
    errors = [turn.exception() for turn in (one, two)]
    assert all(isinstance(each, RefusedRequestError) and each.error.status == 429 for each in errors)
    assert not scene.is_active
    assert scene.demand.of(LLAMA).waiting == 0


@in_virtual_time
async def test_requests_in_flight_keep_the_model_wanted_until_they_are_over() -> None:
    scene = Scene(replicas=(ONE,))
    request, turn = scene.ask()
    scene.update(refused_until=TOMORROW)
    assert turn.result() == ONE
    assert scene.is_active
    scene.leave(request)
    assert not scene.is_active


@in_virtual_time
async def test_after_the_reset_requests_wake_the_model_again() -> None:
    scene = Scene(refused_until=TOMORROW)
    scene.update(refused_until=None)
    _, turn = scene.ask()
    assert scene.is_active
    scene.update(replicas=(ONE,))
    assert turn.result() == ONE
