"""How many connections are accepted: in all, in one namespace, at one port, and from one address. Pure.

Shares are like those of requests: an address leaves room to other addresses, a port to its namespace, a namespace to
the others. Connections that have sent nothing yet count in the shares of the address that opened them, and in no other.

Where a limit is reached, connections that have sent nothing yet are closed first: the oldest of the address that has
most of them. So an address that only opens connections, however many, keeps no other address out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from weakref import WeakValueDictionary

from slipway.process.addresses import client_of

AT_PORT, IN_ALL = 3, 1
"""One address may have at most so many times what it leaves free: alone, three quarters of a port's connections and a
half of all; less if there are others."""
OF_PORT, OF_NAMESPACE = 2, 3
"""The same of all connections: two thirds, and three quarters."""

MOST_TURNED_AWAY = 64
"""Connections over the limit that are read for a while, so that the client sees why; others are closed immediately."""


class ConnectionState(Enum):
    SILENT = auto()  # has sent no request yet, or none that is allowed
    BUSY = auto()  # a request is being served
    IDLE = auto()  # between two requests


@dataclass(eq=False)
class Counted:
    """One connection, with all limits in which it counts; `close` ends it."""

    address: str
    places: Sequence[Limit]
    close: Callable[[], object]
    state: ConnectionState = ConnectionState.SILENT

    def turn(self, state: ConnectionState) -> None:
        if self.state is not ConnectionState.BUSY:
            for place in self.places:
                place.cease_to_be(self)
        self.state = state
        if state is not ConnectionState.BUSY:
            for place in self.places:
                place.come_to_be(self)

    def leave(self) -> None:
        """Calling it again changes nothing."""
        for place in self.places:
            place.forget(self)
        self.places = ()


ByAddress = dict[str, dict[Counted, None]]


class Limit:
    """At most so many connections; it knows those of each address and state, the oldest first."""

    def __init__(self, most: int, share: float, *, within: tuple[Limit, float] | None = None) -> None:
        """`share` of one address. `within`: the limit of all connections, and the share that this one has of it."""
        self.most = most
        self.taken = 0
        self.silent = 0  # of them
        self._silent: ByAddress = {}
        self._idle: ByAddress = {}
        self._share = share
        self._within = within
        self._of: defaultdict[str, int] = defaultdict(int)

    def remember(self, guest: Counted) -> None:
        self.taken += 1
        self._of[guest.address] += 1
        if guest.state is not ConnectionState.BUSY:
            self.come_to_be(guest)

    def forget(self, guest: Counted) -> None:
        self.taken -= 1
        self._of[guest.address] -= 1
        if not self._of[guest.address]:
            del self._of[guest.address]
        if guest.state is not ConnectionState.BUSY:
            self.cease_to_be(guest)

    def come_to_be(self, guest: Counted) -> None:
        """It has become silent or idle."""
        is_silent = guest.state is ConnectionState.SILENT
        self.silent += is_silent
        alike = self._silent if is_silent else self._idle
        alike.setdefault(guest.address, {})[guest] = None

    def cease_to_be(self, guest: Counted) -> None:
        is_silent = guest.state is ConnectionState.SILENT
        self.silent -= is_silent
        alike = self._silent if is_silent else self._idle
        theirs = alike[guest.address]
        del theirs[guest]
        if not theirs:
            del alike[guest.address]

    def is_full(self) -> bool:
        if self.taken >= self.most or self._within is None:
            return self.taken >= self.most
        whole, times_free = self._within
        return self.taken > 0 and self.taken + 1 > times_free * whole.left(silent=self.silent)

    def has_its_share(self, address: str) -> bool:
        mine = self._of.get(address, 0)
        return mine > 0 and mine + 1 > self._share * self.left(silent=len(self._silent.get(address, ())))

    def left(self, *, silent: int) -> int:
        """How many are free after one more. Silent ones would make room, except `silent` of the asking holder's own."""
        return self.most - self.taken + self.silent - silent - 1

    def first_to_go(self, address: str) -> Counted | None:
        """Which connection makes room for one more of this address: its own if it has its share, else another's."""
        if self.has_its_share(address):
            return next(iter(self._silent.get(address, ())), None)
        mine = self._of.get(address, 0) + 1
        silent = list(self._silent.values())
        idle = [alike for whose, alike in self._idle.items() if self._of[whose] > mine]
        most: dict[Counted, None] = max(silent or idle, key=len, default={})
        return next(iter(most), None)


class ConnectionLimits:
    """All connections of the process, for its life."""

    def __init__(self, most: int) -> None:
        self.all = Limit(most, IN_ALL)
        self._namespaces: WeakValueDictionary[str, Limit] = WeakValueDictionary()
        self.turned_away = 0  # over the limit, and still reading their refusal

    def places(self, namespace: str, most: int) -> Sequence[Limit]:
        """The limits of one port's connections: its own, that of its namespace, and that of all."""
        port = Limit(most, AT_PORT, within=(self.all, OF_PORT))
        own = self._namespaces.get(namespace) or Limit(self.all.most, AT_PORT, within=(self.all, OF_NAMESPACE))
        self._namespaces[namespace] = own
        return port, own, self.all

    def enter(self, places: Sequence[Limit], address: str, *, close: Callable[[], object]) -> Counted | None:
        """None: a limit is reached, and no connection would have to make room. `close` ends the new one."""
        name = client_of(address)
        for place in places:
            while place.is_full() or place.has_its_share(name):
                first = place.first_to_go(name)
                if first is None:
                    return None
                first.leave()
                first.close()
        guest = Counted(name, places, close)
        for place in guest.places:
            place.remember(guest)
        return guest
