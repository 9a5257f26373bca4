"""The gate of one deployment: lets requests wait, and calls them when a replica is free for them.

It knows who waits (`holding`), which replica is next (`picking`) and what is known of the deployment, and it says what
is wanted (`demand`): what is complete, and nothing that a head announces. From the first request that finds no replica
until one is ready or has finally failed there is a lease: the deployment stays wanted even if that client goes away, so
that nothing ends a pod that is still loading. Who sends the deployment to sleep ends the lease, unless somebody waits.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from slipway.activator.http1.heads import RequestHead
from slipway.activator.proxy import error_responses, local_responses
from slipway.activator.proxy.access.authorization import Authorizer
from slipway.activator.proxy.admission import GlobalLimits, HeldRequest, NoPlaceError, TooManyArrivingError, WaitingRoom
from slipway.activator.proxy.balancer import Balancer, backoff
from slipway.activator.proxy.client_identity import Client
from slipway.activator.proxy.error_responses import RefusedRequestError
from slipway.activator.proxy.local_responses import AnsweredLocallyError, LocalResponse
from slipway.activator.proxy.retry_after import retry_after
from slipway.activator.proxy.retry_policy import WITHOUT_WORK, UpstreamFailure
from slipway.activator.shared.demand import Demand, ModelDemand
from slipway.activator.shared.model_state import ModelState
from slipway.activator.shared.replica import Replica
from slipway.api.reasons import State

MOST_TURNS = 64  # that are given at once; others are served before there are more

DEFAULT_WAKE = 60.0  # seconds, where nobody knows how long a wake takes

ANSWER = 128 * 1024  # bytes of an answer that may lie here, while its client is slow or it isn't known what it is

ReplicaFuture = asyncio.Future[Replica]


class QueuedRequest:
    """One request at the gate."""

    def __init__(self, gate: RequestQueue, ticket: HeldRequest, head: RequestHead | None, *, is_demand: bool) -> None:
        self._gate = gate
        self.ticket = ticket
        self.head = head
        self.is_demand = is_demand  # or it takes a replica that is free, but doesn't wait for one
        self.replica: Replica | None = None
        self.turn: ReplicaFuture | None = None
        self.was_held = False
        self.called_at = ticket.arrived
        self.was_called = False
        self.is_owed_a_turn = False  # the last one was of no use to it, through no fault of its own
        self.tries = 0  # at replicas that may have worked on it
        self.keeps_answer = False  # bytes of it lie here, and have their place
        self.avoided: dict[tuple[str, int], float] = {}  # replicas that it stays away from, and until when

    def __enter__(self) -> QueuedRequest:
        return self

    def __exit__(self, *error: object) -> None:
        self._gate.leave(self)

    @property
    def held(self) -> float:
        """Seconds from its arrival until a replica was free for it; 0 if one was when its body was there."""
        return self.called_at - self.ticket.arrived if self.was_held else 0.0

    def queue(self) -> ReplicaFuture:
        """It is there, and may be called; the result is the replica. After a failed try, it may be called again.
        ToldError or RefusedError for what doesn't wait, if no replica is free."""
        return self._gate.queue(self)

    def grow(self, size: int, *, beside: int = 0) -> None:
        """So many more bytes of its body are kept, and others beside them."""
        self._gate.grow(self, size, beside)

    def failed(self, failure: UpstreamFailure) -> None:
        """The replica gave no answer that counts."""
        self._gate.failed(self, failure)

    def answered(self) -> None:
        """An answer has begun: the request's body is needed no more, but the replica is still busy with it."""
        self._gate.answered(self)

    def keep_answer(self) -> bool:
        """Bytes of its answer are to lie here for a while; whether there is a place for them."""
        return self._gate.keep_answer(self)

    def pass_on_answer(self) -> None:
        """None of them does any more."""
        self._gate.pass_on_answer(self)

    def overdue(self) -> RefusedRequestError:
        return self._gate.overdue(self)


class RequestQueue:
    """To be used in the event loop in which it was made."""

    def __init__(
        self,
        known: ModelState,
        house: GlobalLimits,
        demand: Demand,
        *,
        runbooks: str = "",
        doorkeeper: Authorizer | None = None,
    ) -> None:
        self.known = known
        self.doorkeeper = doorkeeper or Authorizer()
        self._room = WaitingRoom(known.limits, house, known.deployment)
        self.tally = house.tally
        self._replicas = Balancer()
        self._in_flight = 0  # requests that are demand
        self._demand = demand
        self._runbooks = runbooks
        self._loop = asyncio.get_running_loop()
        self._waking_since: float | None = None
        self._visits: dict[HeldRequest, QueuedRequest] = {}
        self._aside: list[tuple[float, int, QueuedRequest]] = []  # a heap: when, and who, may be called again
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at: float | None = None
        self._is_closed = False
        self.on_replicas: Callable[[frozenset[tuple[str, int]]], None] = lambda addresses: None
        self.tell(known)

    # --- what is known -----------------------------------------------------------------------------------------------

    def tell(self, known: ModelState) -> None:
        if known.sent_to_sleep and known.sent_to_sleep != self.known.sent_to_sleep and not self._room.waiting:
            self._waking_since = None  # of those who have gone away
        self.known = known
        self._room.set_limits(known.limits)
        self._replicas.set(known.replicas)
        self.on_replicas(self.addresses)
        if refusal := self._hopeless():
            self._refuse_all(refusal)
        if self._replicas or refusal:
            self._waking_since = None
        self._call()

    def close(self) -> None:
        """The deployment is gone: who waits is told so, and nothing is wanted of it any more."""
        self._is_closed = True
        self._waking_since = None
        if self._alarm:
            self._alarm.cancel()
        self._refuse_all(error_responses.deleted())
        self._replicas.set(())
        self.on_replicas(self.addresses)
        self._demand.forget(self.known.deployment)

    @property
    def waking_for(self) -> float:
        """Seconds since the first request that found no replica."""
        return 0.0 if self._waking_since is None else self._loop.time() - self._waking_since

    @property
    def addresses(self) -> frozenset[tuple[str, int]]:
        """Where requests may be sent to."""
        return self._replicas.addresses

    def asleep(self, head: RequestHead) -> LocalResponse | None:
        """What is answered without a replica, where none is free; None: it takes one, or waits. RefusedError where none
        would be woken for it."""
        if self._is_closed or self._replicas.pick(self._loop.time()):
            return None
        return local_responses.answer(self.known.rules, head, self._state())

    # --- a request's way ---------------------------------------------------------------------------------------------

    def most_kept(self, client: Client, *, beside: int) -> int:
        """Bytes of one body that may be kept, where it takes others `beside` them."""
        return self._room.most_kept(client, beside=beside)

    def visit(
        self, client: Client, head: RequestHead | None = None, *, overhead: int = 0, announced: int = 0
    ) -> QueuedRequest:
        """Lets a request in whose head is there, and forgets it at the end, however it ends. It takes so many bytes
        besides its body, of which so many are announced. Without its head, it may wait."""
        if refusal := self._hopeless():
            raise RefusedRequestError(refusal)
        try:
            is_demand = head is None or local_responses.wakes(self.known.rules, head)
            now = self._loop.time()
            ticket = self._room.enter(client, now, overhead=overhead, announced=announced, waits=is_demand)
        except TooManyArrivingError:
            raise RefusedRequestError(error_responses.crowded()) from None
        except NoPlaceError:
            raise self._full() from None
        visit = self._visits[ticket] = QueuedRequest(self, ticket, head, is_demand=is_demand)
        return visit

    def leave(self, visit: QueuedRequest) -> None:
        del self._visits[visit.ticket]
        self._room.leave(visit.ticket)
        if visit.turn and not visit.turn.cancel():
            visit.turn.exception()  # nobody is there to hear of it, which asyncio would complain about
        self._let_go(visit)
        self._call()

    def queue(self, visit: QueuedRequest) -> ReplicaFuture:
        visit.turn = self._loop.create_future()
        if self._passes_by(visit) or self._goes_at_once(visit):
            return visit.turn
        if refusal := self._hopeless():
            visit.turn.set_exception(RefusedRequestError(refusal))
            return visit.turn
        try:
            self._room.queue(visit.ticket)
        except NoPlaceError:
            raise self._full() from None
        if visit.is_owed_a_turn:
            visit.is_owed_a_turn = False
            self._room.give_back_turn(visit.ticket)
        self._call()
        visit.was_held = visit.was_held or not visit.turn.done()
        return visit.turn

    def grow(self, visit: QueuedRequest, size: int, beside: int) -> None:
        try:
            self._room.grow(visit.ticket, size, beside=beside)
        except NoPlaceError:
            raise self._full() from None

    def failed(self, visit: QueuedRequest, failure: UpstreamFailure) -> None:
        """Whose fault it is decides who stays away from the replica for a while: this request, or all."""
        now = self._loop.time()
        visit.tries += failure not in WITHOUT_WORK
        if failure is UpstreamFailure.STALE or not visit.replica:
            return
        if failure in WITHOUT_WORK:
            self._replicas.turned_away(visit.replica, now)
            visit.is_owed_a_turn = True
        else:
            self._replicas.failed(visit.replica, visit.ticket.client, now)
            visit.avoided[visit.replica.address] = now + backoff(visit.tries - 1)
        self._let_go(visit)

    def answered(self, visit: QueuedRequest) -> None:
        self._room.answered(visit.ticket)
        if visit.replica:
            self._replicas.answered(visit.replica)

    def keep_answer(self, visit: QueuedRequest) -> bool:
        try:
            if not visit.keeps_answer:
                self._room.grow(visit.ticket, 0, beside=ANSWER)
        except NoPlaceError:
            return False
        visit.keeps_answer = True
        return True

    def pass_on_answer(self, visit: QueuedRequest) -> None:
        if visit.keeps_answer:
            visit.keeps_answer = False
            self._room.shrink(visit.ticket, beside=ANSWER)

    def overdue(self, visit: QueuedRequest) -> RefusedRequestError:
        held = self._loop.time() - visit.ticket.arrived
        return RefusedRequestError(error_responses.overdue(held, self.known.cause, self._runbooks, self._retry_after()))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _state(self) -> State:
        is_coming = self.known.in_use or self._waking_since is not None
        return local_responses.state(self.known.cause, is_coming=is_coming, is_ready=bool(self._replicas))

    def _let_go(self, visit: QueuedRequest) -> None:
        if visit.replica:
            self._replicas.give_back(visit.replica)
            self._in_flight -= visit.is_demand
            visit.replica = None

    def _call(self) -> None:
        """Gives replicas to those who wait, to one client after the other, as long as there are both."""
        if self._room.has_next() or self._aside:
            self._give_turns()
        self._report()

    def _give_turns(self) -> None:
        now = self._loop.time()
        self._bring_back(now)
        turns = 0
        while turns < MOST_TURNS and self._replicas.pick(now) and self._room.has_next():
            turns += 1
            visit = self._visits[self._room.call()]
            avoided = _still(visit.avoided, now)
            if replica := self._replicas.pick(now, avoided):
                self._give(replica, visit, now)
            else:
                self._put_aside(visit, min(avoided.values()))
        self._set_alarm(now, is_over=turns < MOST_TURNS)

    def _put_aside(self, visit: QueuedRequest, until: float) -> None:
        """It stays away from all that are free. That is soon over, so it isn't looked at again before."""
        self._room.put_aside(visit.ticket)
        heapq.heappush(self._aside, (until, visit.ticket.number, visit))

    def _bring_back(self, now: float) -> None:
        for _ in range(MOST_TURNS):
            if not self._aside or self._aside[0][0] > now:
                return
            _, _, visit = heapq.heappop(self._aside)
            if visit.turn and not visit.turn.done():  # or it has left
                self._room.queue(visit.ticket)

    def _goes_at_once(self, visit: QueuedRequest) -> bool:
        """Where nobody waits, and a replica is free."""
        if self._is_closed or self._aside or self._room.has_next() or not self._takes_free(visit):
            return False
        self._report()
        return True

    def _passes_by(self, visit: QueuedRequest) -> bool:
        """What wakes nobody takes a replica that is free, or is answered without one."""
        if visit.is_demand or visit.head is None or self._is_closed:
            return False
        if self._takes_free(visit):
            return True
        if told := local_responses.answer(self.known.rules, visit.head, self._state()):
            raise AnsweredLocallyError(told)
        visit.is_demand = True  # the rules have changed
        return False

    def _takes_free(self, visit: QueuedRequest) -> bool:
        now = self._loop.time()
        replica = self._replicas.pick(now, _still(visit.avoided, now))
        if replica is None:
            return False
        visit.is_owed_a_turn = False
        self._room.pass_by(visit.ticket)
        self._give(replica, visit, now)
        return True

    def _give(self, replica: Replica, visit: QueuedRequest, now: float) -> None:
        self._replicas.take(replica)
        self._in_flight += visit.is_demand
        self.tally.forwarded += not visit.was_called
        self.tally.retries += visit.was_called
        visit.replica, visit.called_at, visit.was_called = replica, now, True
        assert visit.turn
        visit.turn.set_result(replica)

    def _set_alarm(self, now: float, *, is_over: bool) -> None:
        """Calls again when a replica has rested, or a request that failed there has, or at once if this isn't over."""
        times = [self._aside[0][0]] if self._aside else []
        if self._room.has_next():
            times += [rested] if (rested := self._replicas.next_rested(now)) else []
            times += [] if is_over else [now]
        at = min(times, default=None)
        if at == self._alarm_at:
            return
        if self._alarm:
            self._alarm.cancel()
        self._alarm_at, self._alarm = at, None if at is None else self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._alarm_at = self._alarm = None
        self._call()

    def _hopeless(self) -> error_responses.ErrorResponse | None:
        """Why nobody need wait, if so. A replica that is ready serves, whatever is wrong with others."""
        if self._is_closed:
            return error_responses.deleted()
        cause = self.known.cause
        return error_responses.failed(cause, self._runbooks) if cause and cause.final and not self._replicas else None

    def _refuse_all(self, refusal: error_responses.ErrorResponse) -> None:
        for visit in self._visits.values():
            if visit.turn and not visit.turn.done():
                self._room.leave(visit.ticket)
                visit.turn.set_exception(RefusedRequestError(refusal))

    def _full(self) -> RefusedRequestError:
        return RefusedRequestError(error_responses.full(self._retry_after()))

    def _retry_after(self) -> int:
        expected = self.known.expected_wake or DEFAULT_WAKE
        return 1 if self._replicas else retry_after(expected, self.waking_for)

    def _report(self) -> None:
        if self._is_closed:
            return
        waiting = self._room.waiting
        if waiting and self._waking_since is None and not self._replicas and not self._hopeless():
            self._waking_since = self._loop.time()
            self.tally.wakes += 1
        active = bool(waiting or self._in_flight or self._waking_since is not None or self.known.in_use)
        wanted = ModelDemand(
            active=active,
            waiting=waiting,
            target_per_replica=self.known.target_per_replica,
            running=max(self.known.running, float(self._in_flight)),  # the engines were asked a while ago
        )
        self._demand.report(self.known.deployment, wanted)


def _still(avoided: dict[tuple[str, int], float], now: float) -> dict[tuple[str, int], float]:
    return avoided and {address: until for address, until in avoided.items() if until > now}
