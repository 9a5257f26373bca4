"""The waiting room: which requests may wait for a replica, and which of them is next. Pure: the clock is an argument.

A room belongs to one deployment; all rooms together share the places of the house. Both are bounded by count and by
bytes, and no holder gets so much that others find nothing (`places`). A place, and bytes, are taken by what has come:
what a head announces takes none. Requests whose bodies are still on their way are bounded by themselves, in the house.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from slipway.activator.proxy.client_identity import Client
from slipway.activator.proxy.counters import ProxyCounters
from slipway.activator.proxy.fair_limit import FairLimit, Share
from slipway.activator.proxy.round_robin import RoundRobin
from slipway.activator.shared.hold_limits import HoldLimits

FEW = 64  # tickets: so many that have left may lie among those who wait, however few these are

# Each holder leaves something to others even if all holders below it have taken what they may: a client to the clients
# of its deployment, a deployment to its namespace, a namespace to the others.
IN_ROOM = {"owner": 2.0, "address": 3.0}
IN_HOUSE = {"owner": 0.5, "address": 1.0, "deployment": 2.0, "namespace": 3.0}


class NoPlaceError(Exception):
    """There is no place for one more request, or for its bytes."""


class TooManyArrivingError(NoPlaceError):
    """Too many requests are still on their way; this is over sooner than a wake."""


@dataclass(eq=False, slots=True)
class HeldRequest:
    """One request on its way from its head to the end of its answer."""

    client: Client
    arrived: float
    deadline: float
    in_room: tuple[Share, ...]
    in_house: tuple[Share, ...]
    number: int = -1  # its turn among those of its client: in the order in which bodies were there
    size: int = 0  # bytes of its body that are kept
    overhead: int = 0  # bytes that it takes beside them
    is_coming: bool = True  # its body isn't there yet
    counted: bool = False  # whether it has a place of the room
    queued: bool = False  # whether it may be called: its body is there, and no replica has it


@dataclass
class GlobalLimits:
    """What all deployments share."""

    max_requests: int = 4096
    max_bytes: int = 384 << 20
    max_coming: int = 1024  # requests whose bodies are on their way
    requests: FairLimit = field(init=False)
    bytes: FairLimit = field(init=False)
    coming: FairLimit = field(init=False)
    tally: ProxyCounters = field(default_factory=ProxyCounters)

    def __post_init__(self) -> None:
        self.requests = FairLimit(self.max_requests)
        self.bytes = FairLimit(self.max_bytes)
        self.coming = FairLimit(self.max_coming)


class WaitingRoom:
    def __init__(self, limits: HoldLimits, house: GlobalLimits, name: tuple[str, str] = ("", "")) -> None:
        """`name`: the deployment's namespace and its own."""
        deployment: Share = ("deployment", *name), IN_HOUSE["deployment"]
        namespace: Share = ("namespace", name[0]), IN_HOUSE["namespace"]
        self._above_clients = deployment, namespace
        self._house = house
        self._numbers = count()
        self._requests = FairLimit(limits.max_requests)
        self._bytes = FairLimit(limits.max_bytes)
        self._turns: RoundRobin[HeldRequest] = RoundRobin()
        self._left = 0  # tickets that won't be called, since all of them were forgotten
        self.set_limits(limits)

    def set_limits(self, limits: HoldLimits) -> None:
        """Those who wait already may go on, even if there are more of them now than are let in."""
        self.limits = limits
        self._requests.total = limits.max_requests
        self._bytes.total = limits.max_bytes

    @property
    def waiting(self) -> int:
        """Requests that are complete and that no replica has."""
        return self._requests.taken

    @property
    def kept_bytes(self) -> int:
        return self._bytes.taken

    def most_kept(self, client: Client, *, beside: int = 0) -> int:
        """Bytes of one body that can be kept if nobody else is there, where it takes others `beside` them."""
        smallest = "owner" if client.owner else "address"
        in_house = self._house.bytes.alone(IN_HOUSE[smallest]) - beside
        return max(0, min(self._bytes.alone(IN_ROOM[smallest]), in_house))

    def enter(
        self, client: Client, now: float, *, overhead: int = 0, announced: int = 0, waits: bool = True
    ) -> HeldRequest:
        """A request's head is there. FullError if what it announces, or the request if it `waits`, would find no place
        now, though it takes none."""
        in_house = (*_of_client(client, IN_HOUSE), *self._above_clients)
        ticket = HeldRequest(client, now, now + self.limits.timeout, _of_client(client, IN_ROOM), in_house)
        if not self._house.coming.admit(ticket.in_house, 1):
            raise TooManyArrivingError
        if not ((not waits or self._has_place(ticket)) and self._has_bytes(ticket, announced, overhead)):
            raise NoPlaceError
        self._house.coming.take(ticket.in_house, 1)
        self._house.bytes.take(ticket.in_house, overhead)
        ticket.overhead = overhead
        return ticket

    def grow(self, ticket: HeldRequest, size: int, *, beside: int = 0) -> None:
        """So many more bytes of its body are kept, and others `beside` them; FullError if there is no place."""
        if not self._has_bytes(ticket, size, beside):
            raise NoPlaceError
        ticket.size += size
        ticket.overhead += beside
        self._bytes.take(ticket.in_room, size)
        self._house.bytes.take(ticket.in_house, size + beside)

    def queue(self, ticket: HeldRequest) -> None:
        """The request may be called: its body is there (FullError if there is no place for it), or a replica has
        failed it, and it keeps its turn of old among those of its client."""
        if ticket.is_coming:
            if not self._has_place(ticket):
                raise NoPlaceError
            self._has_come(ticket)
        self._count(ticket)
        ticket.queued = True
        self._turns.add(ticket, _holders(ticket.client))

    def pass_by(self, ticket: HeldRequest) -> None:
        """Its body is there, and it doesn't wait."""
        self._has_come(ticket)

    def has_next(self) -> bool:
        return self._turns.first() is not None

    def call(self) -> HeldRequest:
        """The oldest of the client whose turn it is. It frees a place, but its bytes stay, in case that it comes
        back."""
        ticket = self._turns.take()
        ticket.queued = False
        self._uncount(ticket)
        return ticket

    def give_back_turn(self, ticket: HeldRequest) -> None:
        """The turn was of no use: nothing was done for this one, which was called last, or is queued again. So the next
        turn is that of the same client."""
        self._turns.give_back_turn(_holders(ticket.client))

    def shrink(self, ticket: HeldRequest, *, beside: int) -> None:
        """So many of the bytes beside its body are there no more."""
        ticket.overhead -= beside
        self._house.bytes.give_back(ticket.in_house, beside)

    def put_aside(self, ticket: HeldRequest) -> None:
        """It was called for nothing, and keeps its place. Its turn is that of the next one of its client, until it is
        queued again."""
        self._count(ticket)
        self.give_back_turn(ticket)

    def answered(self, ticket: HeldRequest) -> None:
        """Its body is needed no more."""
        self._let_go(ticket)

    def leave(self, ticket: HeldRequest) -> None:
        """The request is over, or its client has gone. Leaving twice is leaving once."""
        self._let_go(ticket)
        self._house.bytes.give_back(ticket.in_house, ticket.overhead)
        ticket.overhead = 0

    def _has_place(self, ticket: HeldRequest) -> bool:
        return self._requests.admit(ticket.in_room, 1) and self._house.requests.admit(ticket.in_house, 1)

    def _has_bytes(self, ticket: HeldRequest, size: int, beside: int) -> bool:
        in_house = self._house.bytes.admit(ticket.in_house, size + beside)
        return in_house and (not size or self._bytes.admit(ticket.in_room, size))

    def _has_come(self, ticket: HeldRequest) -> None:
        if ticket.is_coming:
            ticket.is_coming = False
            ticket.number = next(self._numbers)
            self._house.coming.give_back(ticket.in_house, 1)

    def _let_go(self, ticket: HeldRequest) -> None:
        if ticket.size:
            self._bytes.give_back(ticket.in_room, ticket.size)
            self._house.bytes.give_back(ticket.in_house, ticket.size)
            ticket.size = 0
        self._has_come(ticket)
        self._uncount(ticket)
        if ticket.queued:
            ticket.queued = False
            self._left += 1
            self._tidy()

    def _tidy(self) -> None:
        """Those who have left are forgotten before they outnumber those who wait, whenever their turn would be."""
        if self._left > FEW and self._left > self.waiting:
            self._turns.tidy()
            self._left = 0

    def _count(self, ticket: HeldRequest) -> None:
        if not ticket.counted:
            ticket.counted = True
            self._requests.take(ticket.in_room, 1)
            self._house.requests.take(ticket.in_house, 1)

    def _uncount(self, ticket: HeldRequest) -> None:
        if ticket.counted:
            ticket.counted = False
            self._requests.give_back(ticket.in_room, 1)
            self._house.requests.give_back(ticket.in_house, 1)


def _holders(client: Client) -> tuple[str, str]:
    """Whose turns are in rotation: addresses, and behind one of them owners."""
    return client.address, client.owner


def _of_client(client: Client, shares: dict[str, float]) -> tuple[Share, ...]:
    """The smallest first."""
    address = ("address", client.address), shares["address"]
    if not client.owner:
        return (address,)
    return (("owner", client.address, client.owner), shares["owner"]), address
