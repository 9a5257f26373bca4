"""The request queue of one model: lets requests wait, and gives each a replica when one is free for it.

It knows which requests wait (`admission`), which replica is next (`balancer`) and the state of the model, and reports
the demand: requests that are complete, and nothing that a head announces. From the first request that finds no replica
until one is ready, or has permanently failed, the model stays wanted even if that client goes away: so nothing ends a
pod that is still loading. Sending the model to sleep ends this, unless requests wait.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from datetime import UTC, datetime

from slipway.activator.http1.heads import RequestHead
from slipway.activator.proxy import error_responses, local_responses
from slipway.activator.proxy.admission import (
    WAITING,
    GlobalLimits,
    NoPlaceError,
    TooManyArrivingError,
    WaitingRoom,
)
from slipway.activator.proxy.balancer import Balancer, backoff
from slipway.activator.proxy.client_identity import Client
from slipway.activator.proxy.counters import ModelCounters
from slipway.activator.proxy.error_responses import ErrorResponse, RefusedRequestError
from slipway.activator.proxy.hold_times import Wake
from slipway.activator.proxy.local_responses import AnsweredLocallyError, LocalResponse
from slipway.activator.proxy.queued_request import QueuedRequest, ReplicaFuture
from slipway.activator.proxy.retry_after import after_reset, retry_after
from slipway.activator.proxy.retry_policy import WITHOUT_WORK, UpstreamFailure
from slipway.activator.shared.demand import Demand, ModelDemand
from slipway.activator.shared.model_state import ModelState
from slipway.activator.shared.replica import Replica, ReplicaAddress
from slipway.api.reasons import State

MOST_CALLS = 64  # requests that are called in one go; others are served before more are

RESPONSE_BUFFER = 128 * 1024
"""Bytes of a response that may be stored here, while its client is slow or it isn't known yet what it is."""


class RequestQueue:
    """To be used in the event loop in which it was made."""

    def __init__(
        self,
        state: ModelState,
        limits: GlobalLimits,
        demand: Demand,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`now`: the time of day, at which budgets are reset."""
        self.state = state
        self.counters = limits.counters
        self._room: WaitingRoom[QueuedRequest] = WaitingRoom(state.limits, limits, state.key)
        self._balancer = Balancer()
        self._in_flight = 0  # requests that are demand
        self._demand = demand
        self._now = now
        self._over_budget = 0  # requests that were refused because of that
        self._loop = asyncio.get_running_loop()
        self._waking_since: float | None = None
        self.last_wake: Wake | None = None
        self._requests: dict[QueuedRequest, None] = {}  # in the order of their arrival
        self._set_aside: list[tuple[float, int, QueuedRequest]] = []  # a heap: when each may be called again
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._is_closed = False
        self.on_replicas: Callable[[frozenset[ReplicaAddress]], None] = lambda addresses: None
        self.update(state)

    # --- the model ---------------------------------------------------------------------------------------------------

    def update(self, state: ModelState) -> None:
        if state.sent_to_sleep and state.sent_to_sleep != self.state.sent_to_sleep and not self._room.waiting:
            self._waking_since = None  # for clients that have gone away
        self.state = state
        self._room.set_limits(state.limits)
        self._balancer.set(state.replicas)
        self.on_replicas(self.addresses)
        self._refuse_all(self._refusal)
        if self._balancer and self._waking_since is not None:
            self.last_wake = Wake(self._waking_since, self._loop.time())
        if self._balancer or self._is_refusing:
            self._waking_since = None
        self._call()

    def close(self) -> None:
        """The model is deleted: requests that wait are refused, and it isn't wanted any longer."""
        self._is_closed = True
        self._waking_since = None
        if self._timer:
            self._timer.cancel()
        self._refuse_all(error_responses.deleted)
        self._balancer.set(())
        self.on_replicas(self.addresses)
        self._demand.forget(self.state.key)

    @property
    def waking_for(self) -> float:
        """Seconds since the first request that found no replica."""
        return 0.0 if self._waking_since is None else self._loop.time() - self._waking_since

    @property
    def oldest_wait(self) -> float:
        """Seconds since the arrival of the first of the requests that wait; 0: none waits."""
        oldest = next((each for each in self._requests if each.state in WAITING), None)
        return 0.0 if oldest is None else self._loop.time() - oldest.arrived

    @property
    def addresses(self) -> frozenset[ReplicaAddress]:
        """Of replicas that are ready."""
        return self._balancer.addresses

    def local_response(self, head: RequestHead) -> LocalResponse | None:
        """The response to a request that needs no replica, where none is free; None: it takes one, or waits.
        RefusedRequestError where it would take one and doesn't wake one."""
        if self._is_closed or self._balancer.pick(self._loop.time()):
            return None
        return local_responses.respond(self.state.rules, head, self._state_word())

    # --- one request -------------------------------------------------------------------------------------------------

    def largest_body(self, client: Client, *, overhead: int) -> int:
        """Bytes of one body that may be stored, where the request takes `overhead` as well."""
        return self._room.largest_body(client, overhead=overhead)

    def enter(
        self, client: Client, head: RequestHead | None = None, *, overhead: int = 0, announced: int = 0
    ) -> QueuedRequest:
        """The head of a request has arrived, which takes `overhead` bytes, and announces so many of its body. Without
        its head, it may wait. Whatever happens to it, it has to `leave`."""
        if error := self._hopeless():
            raise RefusedRequestError(error)
        is_demand = head is None or local_responses.wakes(self.state.rules, head)
        if is_demand and self.state.refused_until:
            raise RefusedRequestError(self._spent(self.state.refused_until))
        request = QueuedRequest(client, self._loop.time(), head=head, is_demand=is_demand)
        try:
            self._room.enter(request, overhead=overhead, announced=announced, waits=is_demand)
        except TooManyArrivingError:
            raise RefusedRequestError(error_responses.too_many_arriving()) from None
        except NoPlaceError:
            raise self._full() from None
        self._requests[request] = None
        return request

    def queue(self, request: QueuedRequest) -> ReplicaFuture:
        """Its body has arrived, or a try has failed: the result is the replica that takes it. AnsweredLocallyError or
        RefusedRequestError if it doesn't wait, and no replica is free."""
        turn = request.turn = self._loop.create_future()
        if self._goes_without_waiting(request) or self._goes_first(request):
            return turn
        if error := self._refusal():
            turn.set_exception(RefusedRequestError(error))
            return turn
        try:
            self._room.queue(request)
        except NoPlaceError:
            raise self._full() from None
        if request.is_owed_a_turn:
            request.is_owed_a_turn = False
            self._room.return_turn(request)
        self._call()
        if not turn.done() and not request.was_held:
            request.held_at = self._loop.time()
            self._counted()  # its series are there before the hold ends
        return turn

    def leave(self, request: QueuedRequest) -> None:
        """The request is over, whatever the reason."""
        self._requests.pop(request, None)
        self._room.leave(request)
        if request.turn and not request.turn.cancel():
            request.turn.exception()  # marks it as seen; asyncio would log it otherwise
        self._release_replica(request)
        self._call()

    def grow(self, request: QueuedRequest, size: int, *, overhead: int = 0) -> None:
        """So many more bytes of its body are stored, and others besides; RefusedRequestError if there is no place."""
        try:
            self._room.grow(request, size, overhead=overhead)
        except NoPlaceError:
            raise self._full() from None

    def failed(self, request: QueuedRequest, failure: UpstreamFailure) -> None:
        """Its replica gave no response that counts. If it's the fault of the replica, all requests avoid it for a
        while; otherwise, this request does."""
        now = self._loop.time()
        request.tries += failure not in WITHOUT_WORK
        if failure is UpstreamFailure.STALE or not request.replica:
            return
        if failure in WITHOUT_WORK:
            self._balancer.turned_away(request.replica, now)
            request.is_owed_a_turn = True
        else:
            self._balancer.failed(request.replica, request.client, now)
            request.avoided[request.replica.address] = now + backoff(request.tries - 1)
        self._release_replica(request)

    def responded(self, request: QueuedRequest) -> None:
        """A response has started: its body isn't needed any longer, but the replica is still busy with it."""
        self._room.drop_body(request)
        if request.was_held:
            self._counted().count_hold(request.held)
        if request.replica:
            self._balancer.succeeded(request.replica)

    def store_response(self, request: QueuedRequest) -> bool:
        """Bytes of its response are to be stored here for a while; returns whether there is a place for them."""
        try:
            if not request.stores_response:
                self._room.grow(request, 0, overhead=RESPONSE_BUFFER)
        except NoPlaceError:
            return False
        request.stores_response = True
        return True

    def release_response(self, request: QueuedRequest) -> None:
        """No bytes of its response are stored here any longer."""
        if request.stores_response:
            request.stores_response = False
            self._room.shrink(request, overhead=RESPONSE_BUFFER)

    def overdue(self, request: QueuedRequest) -> RefusedRequestError:
        held = self._loop.time() - request.arrived
        return RefusedRequestError(error_responses.overdue(held, self.state.cause, self._retry_after()))

    def count_refusal(self, reason: str) -> None:
        """Of a request, or of a connection."""
        self._counted().refused[reason] += 1

    def _counted(self) -> ModelCounters:
        """A deleted model has no numbers of its own any longer."""
        return self.counters.rest if self._is_closed else self.counters.of(self.state.key)

    # --- who is called -----------------------------------------------------------------------------------------------

    def _call(self) -> None:
        """Gives replicas to requests that wait, to one client after the other, while there are both."""
        if self._room.has_next() or self._set_aside:
            self._call_some()
        self._report()

    def _call_some(self) -> None:
        now = self._loop.time()
        self._queue_again(now)
        calls = 0
        while calls < MOST_CALLS and self._balancer.pick(now) and self._room.has_next():
            calls += 1
            request = self._room.call()
            avoided = request.avoids(now)
            if replica := self._balancer.pick(now, avoided):
                self._give(replica, request, now)
            else:
                self._set_request_aside(request, min(avoided.values()))
        self._set_timer(now, is_over=calls < MOST_CALLS)

    def _set_request_aside(self, request: QueuedRequest, until: float) -> None:
        """It avoids all replicas that are free. It isn't called before one of them may be tried again."""
        self._room.set_aside(request)
        heapq.heappush(self._set_aside, (until, request.number, request))

    def _queue_again(self, now: float) -> None:
        for _ in range(MOST_CALLS):
            if not self._set_aside or self._set_aside[0][0] > now:
                return
            _, _, request = heapq.heappop(self._set_aside)
            if request.turn and not request.turn.done():  # or it has left
                self._room.queue(request)

    def _goes_first(self, request: QueuedRequest) -> bool:
        """Where no other request waits, and a replica is free."""
        if self._is_closed or self._set_aside or self._room.has_next() or not self._takes_free_replica(request):
            return False
        self._report()
        return True

    def _goes_without_waiting(self, request: QueuedRequest) -> bool:
        """A request that wakes no model takes a replica that is free, or is answered without one."""
        if request.is_demand or request.head is None or self._is_closed:
            return False
        if self._takes_free_replica(request):
            return True
        if response := local_responses.respond(self.state.rules, request.head, self._state_word()):
            raise AnsweredLocallyError(response)
        request.is_demand = True  # the rules have changed
        return False

    def _takes_free_replica(self, request: QueuedRequest) -> bool:
        now = self._loop.time()
        replica = self._balancer.pick(now, request.avoids(now))
        if replica is None:
            return False
        request.is_owed_a_turn = False
        self._room.call_without_queueing(request)
        self._give(replica, request, now)
        return True

    def _give(self, replica: Replica, request: QueuedRequest, now: float) -> None:
        """To a request that is called."""
        is_first_try = request.called_at is None
        self._balancer.take(replica)
        self._in_flight += request.is_demand
        self.counters.forwarded += is_first_try
        self.counters.retries += not is_first_try
        request.replica, request.called_at = replica, now
        if request.turn:
            request.turn.set_result(replica)

    def _release_replica(self, request: QueuedRequest) -> None:
        if request.replica:
            self._balancer.give_back(request.replica)
            self._in_flight -= request.is_demand
            request.replica = None

    def _set_timer(self, now: float, *, is_over: bool) -> None:
        """Calls again when a replica's backoff is over, or that of a request that was set aside, or in the next
        iteration of the event loop if this one isn't over."""
        times = [self._set_aside[0][0]] if self._set_aside else []
        if self._room.has_next():
            times += [rested] if (rested := self._balancer.next_available(now)) else []
            times += [] if is_over else [now]
        at = min(times, default=None)
        if at == self._timer_at:
            return
        if self._timer:
            self._timer.cancel()
        self._timer_at, self._timer = at, None if at is None else self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer_at = self._timer = None
        self._call()

    # --- refusals, and the demand ------------------------------------------------------------------------------------

    def _state_word(self) -> State:
        is_coming = self.state.in_use or self._waking_since is not None
        return local_responses.state_word(self.state.cause, is_coming=is_coming, is_ready=bool(self._balancer))

    def _hopeless(self) -> ErrorResponse | None:
        """Why no request need wait, if so. A replica that is ready serves, whatever is wrong with others."""
        if self._is_closed:
            return error_responses.deleted()
        cause = self.state.cause
        return error_responses.failed(cause) if cause and cause.final and not self._balancer else None

    @property
    def _is_refusing(self) -> bool:
        return self.state.refused_until is not None or self._hopeless() is not None

    def _refusal(self) -> ErrorResponse | None:
        """Why no request may wait, if so."""
        return self._hopeless() or (self._spent(self.state.refused_until) if self.state.refused_until else None)

    def _spent(self, until: datetime) -> ErrorResponse:
        """Each client gets another time, because all of them would return at the reset."""
        self._over_budget += 1
        left = (until - self._now()).total_seconds()
        return error_responses.budget_spent(until, after_reset(left, self._over_budget))

    def _refuse_all(self, refusal: Callable[[], ErrorResponse | None]) -> None:
        for request in self._requests:
            if request.turn and not request.turn.done() and (error := refusal()):
                self._room.leave(request)
                request.turn.set_exception(RefusedRequestError(error))

    def _full(self) -> RefusedRequestError:
        return RefusedRequestError(error_responses.hold_full(self._retry_after()))

    def _retry_after(self) -> int:
        return retry_after(
            expected_wake=self.state.expected_wake, waking_for=self.waking_for, is_ready=bool(self._balancer)
        )

    def _report(self) -> None:
        if self._is_closed:
            return
        waiting = self._room.waiting
        if waiting and self._waking_since is None and not self._balancer and not self._is_refusing:
            self._waking_since = self._loop.time()
            self.counters.wakes += 1
        active = bool(waiting or self._in_flight or self._waking_since is not None or self.state.in_use)
        demand = ModelDemand(
            active=active,
            waiting=waiting,
            target_per_replica=self.state.target_per_replica,
            running=max(self.state.running, float(self._in_flight)),  # the engines' metrics are some seconds old
            by_times=self.state.by_times,
        )
        self._demand.report(self.state.key, demand)
