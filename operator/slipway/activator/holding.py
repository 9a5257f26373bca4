"""The waiting room: which requests may wait for a replica, and which of them is next. Pure: the clock is an argument.

A room belongs to one deployment; all rooms together share the places of the house. Both are bounded by count and by
bytes, and no holder (a client of the room, a deployment of the house) gets so much that others find nothing.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count

from slipway.activator.waking import patience
from slipway.api import units
from slipway.api.scaling import HoldSpec

SHARE = 3
"""One holder may have at most so many times what it leaves free: three quarters if alone, less if there are others."""

HEARTBEAT = 10.0  # seconds that `heartbeat: Auto` stands for


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`spec.scaling.hold` in numbers."""

    max_requests: int = 256
    max_bytes: int = 64 << 20
    timeout: float = 300.0
    heartbeat: float = HEARTBEAT

    @classmethod
    def of(cls, spec: HoldSpec, *, last_starts: Sequence[float] = (), model_bytes: float | None = None) -> Limits:
        auto = spec.timeout == "Auto"
        return cls(
            max_requests=spec.max_requests,
            max_bytes=int(units.amount(spec.max_bytes)),
            timeout=patience(last_starts, model_bytes) if auto else units.seconds(spec.timeout),
            heartbeat=HEARTBEAT if spec.heartbeat == "Auto" else units.seconds(spec.heartbeat),
        )


class FullError(Exception):
    """There is no place for one more request, or for its bytes."""


class Places:
    """So many of something, shared by holders."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.taken = 0
        self._held: defaultdict[Hashable, int] = defaultdict(int)

    def admit(self, holder: Hashable, amount: int) -> bool:
        """Whether the holder may have so many more. Whoever has nothing yet may have all that is free."""
        left = self.total - self.taken - amount
        mine = self._held.get(holder, 0)
        return left >= 0 and (mine == 0 or mine + amount <= SHARE * left)

    def take(self, holder: Hashable, amount: int) -> None:
        self.taken += amount
        self._held[holder] += amount

    def give_back(self, holder: Hashable, amount: int) -> None:
        self.taken -= amount
        self._held[holder] -= amount
        if not self._held[holder]:
            del self._held[holder]


@dataclass(eq=False)
class Ticket:
    """One request on its way from arrival to the first byte of its answer."""

    number: int  # in the order of arrival
    client: Hashable
    arrived: float
    deadline: float
    size: int = 0  # bytes that are kept for it
    counted: bool = False  # whether it has a place of the room
    queued: bool = False  # whether it may be called: its body is there, and no replica has it


@dataclass
class House:
    """What all deployments share."""

    max_requests: int = 4096
    max_bytes: int = 512 << 20
    requests: Places = field(init=False)
    bytes: Places = field(init=False)

    def __post_init__(self) -> None:
        self.requests = Places(self.max_requests)
        self.bytes = Places(self.max_bytes)


class Room:
    def __init__(self, limits: Limits, house: House, name: Hashable = None) -> None:
        self._name = name
        self._house = house
        self._numbers = count()
        self._requests = Places(limits.max_requests)
        self._bytes = Places(limits.max_bytes)
        self._queue: list[tuple[int, Ticket]] = []
        self.set_limits(limits)

    def set_limits(self, limits: Limits) -> None:
        """Those who wait already may go on, even if there are more of them now than are let in."""
        self.limits = limits
        self._requests.total = limits.max_requests
        self._bytes.total = limits.max_bytes

    @property
    def waiting(self) -> int:
        """Requests that no replica has."""
        return self._requests.taken

    @property
    def kept_bytes(self) -> int:
        return self._bytes.taken

    def enter(self, client: Hashable, size: int, now: float) -> Ticket:
        """A place for a request of which so many bytes will be kept; FullError if there is none."""
        if not (self._requests.admit(client, 1) and self._house.requests.admit(self._name, 1)):
            raise FullError
        self._check_bytes(client, size)
        ticket = Ticket(next(self._numbers), client, arrived=now, deadline=now + self.limits.timeout)
        self._count(ticket)
        self._take_bytes(ticket, size)
        return ticket

    def grow(self, ticket: Ticket, size: int) -> None:
        """More bytes of a request whose length nobody knew; FullError if there is no place for them."""
        self._check_bytes(ticket.client, size)
        self._take_bytes(ticket, size)

    def queue(self, ticket: Ticket) -> None:
        """The request may be called: its body is there, or a replica has failed it. It keeps its turn of old."""
        self._count(ticket)
        ticket.queued = True
        heapq.heappush(self._queue, (ticket.number, ticket))

    def has_next(self) -> bool:
        while self._queue and not self._queue[0][1].queued:  # it has left meanwhile
            heapq.heappop(self._queue)
        return bool(self._queue)

    def call(self) -> Ticket:
        """The oldest of those that may be called. It frees a place, but its bytes stay, in case that it comes back."""
        if not self.has_next():
            raise LookupError("nobody waits")
        ticket = heapq.heappop(self._queue)[1]
        self._uncount(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """The request is answered, refused, or its client has gone. Leaving twice is leaving once."""
        self._uncount(ticket)
        self._bytes.give_back(ticket.client, ticket.size)
        self._house.bytes.give_back(self._name, ticket.size)
        ticket.size = 0

    def _check_bytes(self, client: Hashable, size: int) -> None:
        if size and not (self._bytes.admit(client, size) and self._house.bytes.admit(self._name, size)):
            raise FullError

    def _take_bytes(self, ticket: Ticket, size: int) -> None:
        ticket.size += size
        self._bytes.take(ticket.client, size)
        self._house.bytes.take(self._name, size)

    def _count(self, ticket: Ticket) -> None:
        if not ticket.counted:
            ticket.counted = True
            self._requests.take(ticket.client, 1)
            self._house.requests.take(self._name, 1)

    def _uncount(self, ticket: Ticket) -> None:
        ticket.queued = False
        if ticket.counted:
            ticket.counted = False
            self._requests.give_back(ticket.client, 1)
            self._house.requests.give_back(self._name, 1)
