"""Which requests may be held for a replica, and which of them is next. Pure: the clock is an argument.

A request passes through the waiting room of its model by three verbs:

- It **enters** when its head has arrived. It takes a place among the requests that are still arriving, and nothing of
  what its head announces. Where the announced size would find no place, it is refused now and not after its upload.
- It **queues** when its body has arrived: it takes a place among those that wait, and is called when it is its turn. A
  request whose try at a replica failed queues again, before the later requests of its client.
- It **leaves** when it is over, whatever the reason, and returns all that it took.

The waiting rooms of all models share the global limits. Each limit is shared fairly (`fair_limit`): no client, model or
namespace gets so much that others find nothing. In between, a request `grow`s by the bytes that are stored for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, auto  # an IntEnum is hashed in C, which matters for each request
from itertools import count
from typing import Generic, TypeVar

from slipway.activator.proxy.client_identity import Client
from slipway.activator.proxy.counters import ProxyCounters
from slipway.activator.proxy.fair_limit import FairLimit, Share
from slipway.activator.proxy.round_robin import RoundRobin
from slipway.activator.shared.hold_limits import HoldLimits

FEW = 64  # requests that have left and may still be in the rotation, however few wait

# Each holder leaves something to others even if all holders below it have taken what they may: a client to the clients
# of its model, a model to its namespace, a namespace to the others.
SHARES_OF_MODEL = {"owner": 2.0, "address": 3.0}
SHARES_OF_ALL = {"owner": 0.5, "address": 1.0, "model": 2.0, "namespace": 3.0}


class NoPlaceError(Exception):
    """There is no place for one more request, or for its bytes."""


class TooManyArrivingError(NoPlaceError):
    """Too many requests are still arriving; this passes sooner than a wake."""


# --- one request ------------------------------------------------------------------------------------------------------


class HoldState(IntEnum):
    NEW = auto()
    ARRIVING = auto()  # its body is on its way
    QUEUED = auto()  # it may be called
    SET_ASIDE = auto()  # it waits, and may not be called yet: each free replica has failed it a moment ago
    CALLED = auto()  # a replica works on it, or may
    LEFT = auto()


NEW, ARRIVING, QUEUED, SET_ASIDE, CALLED, LEFT = HoldState
"""To read a member of an enum's class takes four times as long as to read a constant (Python 3.11)."""


class HoldEvent(IntEnum):
    ENTER = auto()
    QUEUE = auto()
    CALL = auto()
    SET_ASIDE = auto()
    LEAVE = auto()


TABLE: Mapping[tuple[HoldState, HoldEvent], HoldState] = {
    (NEW, HoldEvent.ENTER): ARRIVING,
    (ARRIVING, HoldEvent.QUEUE): QUEUED,
    (ARRIVING, HoldEvent.CALL): CALLED,  # a replica is free, and no one waits
    (QUEUED, HoldEvent.CALL): CALLED,
    (CALLED, HoldEvent.QUEUE): QUEUED,  # the replica failed it
    (CALLED, HoldEvent.CALL): CALLED,  # the replica failed it, and another one is free
    (CALLED, HoldEvent.SET_ASIDE): SET_ASIDE,
    (SET_ASIDE, HoldEvent.QUEUE): QUEUED,
    **{(state, HoldEvent.LEAVE): LEFT for state in HoldState},
}
WAITING = (QUEUED, SET_ASIDE)  # each takes a place of the waiting room, and of all waiting rooms


@dataclass(eq=False, slots=True)
class HeldRequest:
    """One request from its head to the end of its response, and what it takes meanwhile."""

    client: Client
    arrived: float
    deadline: float = 0.0
    state: HoldState = NEW
    shares_of_model: tuple[Share, ...] = ()
    shares_of_all: tuple[Share, ...] = ()
    number: int = -1  # its turn among those of its client: in the order in which their bodies were complete
    size: int = 0  # bytes of its body that are stored
    overhead: int = 0  # other bytes that it takes

    @property
    def queued(self) -> bool:
        return self.state is QUEUED


H = TypeVar("H", bound=HeldRequest)


# --- all requests -----------------------------------------------------------------------------------------------------


@dataclass
class GlobalLimits:
    """What the waiting rooms of all models share."""

    max_requests: int = 4096
    max_bytes: int = 384 << 20
    max_arriving: int = 1024
    requests: FairLimit = field(init=False)
    bytes: FairLimit = field(init=False)
    arriving: FairLimit = field(init=False)
    counters: ProxyCounters = field(default_factory=ProxyCounters)

    def __post_init__(self) -> None:
        self.requests = FairLimit(self.max_requests)
        self.bytes = FairLimit(self.max_bytes)
        self.arriving = FairLimit(self.max_arriving)


class WaitingRoom(Generic[H]):
    """The requests for one model. `name`: its namespace and its own name."""

    def __init__(self, limits: HoldLimits, global_limits: GlobalLimits, name: tuple[str, str] = ("", "")) -> None:
        model: Share = ("model", *name), SHARES_OF_ALL["model"]
        namespace: Share = ("namespace", name[0]), SHARES_OF_ALL["namespace"]
        self._shares_above_clients = model, namespace
        self._global = global_limits
        self._numbers = count()
        self._requests = FairLimit(limits.max_requests)
        self._bytes = FairLimit(limits.max_bytes)
        self._rotation: RoundRobin[H] = RoundRobin()
        self._left = 0  # requests that left while they were queued, since the rotation was last tidied
        self.set_limits(limits)

    def set_limits(self, limits: HoldLimits) -> None:
        """Requests that wait already may stay, even if there are more of them now than are admitted."""
        self.limits = limits
        self._requests.total = limits.max_requests
        self._bytes.total = limits.max_bytes

    @property
    def waiting(self) -> int:
        """Requests that are complete and that no replica has."""
        return self._requests.taken

    def largest_body(self, client: Client, *, overhead: int = 0) -> int:
        """Bytes of one body that can be stored if there is no other request, where it takes `overhead` as well."""
        smallest = "owner" if client.owner else "address"
        of_all = self._global.bytes.alone(SHARES_OF_ALL[smallest]) - overhead
        return max(0, min(self._bytes.alone(SHARES_OF_MODEL[smallest]), of_all))

    # --- the three verbs ---------------------------------------------------------------------------------------------

    def enter(self, request: H, *, overhead: int = 0, announced: int = 0, waits: bool = True) -> None:
        """Its head has arrived. NoPlaceError if what it announces, or the request if it `waits`, would find no place
        now; neither takes one yet."""
        request.shares_of_model = _of_client(request.client, SHARES_OF_MODEL)
        request.shares_of_all = (*_of_client(request.client, SHARES_OF_ALL), *self._shares_above_clients)
        if not self._global.arriving.admits(request.shares_of_all, 1):
            raise TooManyArrivingError
        if not ((not waits or self._has_place(request)) and self._has_bytes(request, announced, overhead)):
            raise NoPlaceError
        request.deadline = request.arrived + self.limits.timeout
        self._global.bytes.take(request.shares_of_all, overhead)
        request.overhead = overhead
        self._move(request, HoldEvent.ENTER)

    def queue(self, request: H) -> None:
        """Its body has arrived (NoPlaceError if there is no place for it); or a replica has failed it, or it was set
        aside, and it keeps its turn among those of its client."""
        if request.state is ARRIVING and not self._has_place(request):
            raise NoPlaceError
        self._move(request, HoldEvent.QUEUE)
        self._rotation.add(request, _holders(request.client))

    def leave(self, request: H) -> None:
        """The request is over, or its client has gone. To leave twice is to leave once."""
        self.drop_body(request)
        self._global.bytes.give_back(request.shares_of_all, request.overhead)
        request.overhead = 0
        was_queued = request.queued
        self._move(request, HoldEvent.LEAVE)
        if was_queued:
            self._left += 1
            self._tidy()

    # --- whose turn it is --------------------------------------------------------------------------------------------

    def has_next(self) -> bool:
        return self._rotation.first() is not None

    def call(self) -> H:
        """Takes the oldest request of the client whose turn it is. Its place is free then, but its bytes stay, since it
        may have to queue again."""
        request = self._rotation.take()
        self._move(request, HoldEvent.CALL)
        return request

    def call_without_queueing(self, request: H) -> None:
        """Its body has arrived, and it doesn't wait."""
        self._move(request, HoldEvent.CALL)

    def return_turn(self, request: H) -> None:
        """The turn was of no use: nothing was done for this request, which was called last, or is queued again. So the
        next turn is that of the same client."""
        self._rotation.return_turn(_holders(request.client))

    def set_aside(self, request: H) -> None:
        """It was called, and there is no replica for it. It keeps its place, but its turn goes to the next request of
        its client, until it is queued again."""
        self._move(request, HoldEvent.SET_ASIDE)
        self.return_turn(request)

    # --- what is stored for it ---------------------------------------------------------------------------------------

    def grow(self, request: H, size: int, *, overhead: int = 0) -> None:
        """Stores `size` more bytes of its body, and others besides; NoPlaceError if there is no place."""
        if not self._has_bytes(request, size, overhead):
            raise NoPlaceError
        request.size += size
        request.overhead += overhead
        self._bytes.take(request.shares_of_model, size)
        self._global.bytes.take(request.shares_of_all, size + overhead)

    def shrink(self, request: H, *, overhead: int) -> None:
        """So many of its other bytes are no longer stored."""
        request.overhead -= overhead
        self._global.bytes.give_back(request.shares_of_all, overhead)

    def drop_body(self, request: H) -> None:
        """A replica responds, so that its body isn't needed any longer."""
        if request.size:
            self._bytes.give_back(request.shares_of_model, request.size)
            self._global.bytes.give_back(request.shares_of_all, request.size)
            request.size = 0

    # --- inside ------------------------------------------------------------------------------------------------------

    def _has_place(self, request: H) -> bool:
        of_all = self._global.requests.admits(request.shares_of_all, 1)
        return of_all and self._requests.admits(request.shares_of_model, 1)

    def _has_bytes(self, request: H, size: int, overhead: int) -> bool:
        of_all = self._global.bytes.admits(request.shares_of_all, size + overhead)
        return of_all and (not size or self._bytes.admits(request.shares_of_model, size))

    def _move(self, request: H, event: HoldEvent) -> None:
        """To the state that follows, which may take a place that the one before didn't take, or the other way round."""
        before, after = request.state, TABLE[request.state, event]
        request.state = after
        if before is NEW and after is ARRIVING:
            self._global.arriving.take(request.shares_of_all, 1)
        elif before is ARRIVING:
            request.number = next(self._numbers)
            self._global.arriving.give_back(request.shares_of_all, 1)
        if after in WAITING and before not in WAITING:
            self._requests.take(request.shares_of_model, 1)
            self._global.requests.take(request.shares_of_all, 1)
        elif before in WAITING and after not in WAITING:
            self._requests.give_back(request.shares_of_model, 1)
            self._global.requests.give_back(request.shares_of_all, 1)

    def _tidy(self) -> None:
        """Forgets those who have left before they outnumber those who wait, whenever it would be their turn."""
        if self._left > FEW and self._left > self.waiting:
            self._rotation.tidy()
            self._left = 0


def _holders(client: Client) -> tuple[str, str]:
    """Between whom turns rotate: addresses, and behind one address owners of keys."""
    return client.address, client.owner


def _of_client(client: Client, shares: dict[str, float]) -> tuple[Share, ...]:
    """The smallest first."""
    address = ("address", client.address), shares["address"]
    if not client.owner:
        return (address,)
    return (("owner", client.address, client.owner), shares["owner"]), address
