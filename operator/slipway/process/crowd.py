"""Who may have a connection: in all, in one namespace, at one port, and from one address. Pure.

Shares are those of requests (`places`): an address leaves room to others, a port to its namespace, a namespace to the
others. Connections that have said nothing yet count in the shares of whoever opened them, and in nobody else's.

Where no more are taken, those go first that have said nothing yet, and of them the oldest of the address that has most.
So connections that are only opened, however many, keep out nobody but whoever opens them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from weakref import WeakValueDictionary

from slipway.process.addresses import client_of

AT_PORT, IN_ALL = 3, 1
"""One address may have at most so many times what it leaves free: three quarters of a port's connections if alone, and
a half of all; less if there are others."""
OF_PORT, OF_NAMESPACE = 2, 3
"""The same of all connections: two thirds, and three quarters."""

MOST_TURNED_AWAY = 64
"""Connections without a place that are listened to for a while, so that they see why; others are closed at once."""


class State(Enum):
    SILENT = auto()  # has never said what it wants, or nothing that it may
    BUSY = auto()  # is being served
    IDLE = auto()  # between two requests


@dataclass(eq=False)
class Guest:
    """One connection, in each of the places that it counts in."""

    address: str
    places: Sequence[Place]
    close: Callable[[], object]
    state: State = State.SILENT

    def turn(self, state: State) -> None:
        if self.state is not State.BUSY:
            for place in self.places:
                place.cease_to_be(self)
        self.state = state
        if state is not State.BUSY:
            for place in self.places:
                place.come_to_be(self)

    def leave(self) -> None:
        """Leaving twice is leaving once."""
        for place in self.places:
            place.forget(self)
        self.places = ()


ByAddress = dict[str, dict[Guest, None]]


class Place:
    """So many connections, those of each address and state in the order in which they came to be so."""

    def __init__(self, most: int, share: float, *, within: tuple[Place, float] | None = None) -> None:
        """`share` of an address. `within` all connections, the place itself has a share, too."""
        self.most = most
        self.taken = 0
        self.silent = 0  # of them
        self._silent: ByAddress = {}
        self._idle: ByAddress = {}
        self._share = share
        self._within = within
        self._of: defaultdict[str, int] = defaultdict(int)

    def remember(self, guest: Guest) -> None:
        self.taken += 1
        self._of[guest.address] += 1
        if guest.state is not State.BUSY:
            self.come_to_be(guest)

    def forget(self, guest: Guest) -> None:
        self.taken -= 1
        self._of[guest.address] -= 1
        if not self._of[guest.address]:
            del self._of[guest.address]
        if guest.state is not State.BUSY:
            self.cease_to_be(guest)

    def come_to_be(self, guest: Guest) -> None:
        """Silent or idle, which it wasn't before."""
        is_silent = guest.state is State.SILENT
        self.silent += is_silent
        alike = self._silent if is_silent else self._idle
        alike.setdefault(guest.address, {})[guest] = None

    def cease_to_be(self, guest: Guest) -> None:
        is_silent = guest.state is State.SILENT
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
        """After one more. Those that are silent would make room, but for a holder's own, which are so many."""
        return self.most - self.taken + self.silent - silent - 1

    def first_to_go(self, address: str) -> Guest | None:
        """Who makes room for one more of this address: its own, if it has its share. Idle ones, only for others."""
        if self.has_its_share(address):
            return next(iter(self._silent.get(address, ())), None)
        mine = self._of.get(address, 0) + 1
        silent = list(self._silent.values())
        idle = [alike for whose, alike in self._idle.items() if self._of[whose] > mine]
        most: dict[Guest, None] = max(silent or idle, key=len, default={})
        return next(iter(most), None)


class Crowd:
    """All connections of the process."""

    def __init__(self, most: int) -> None:
        self.all = Place(most, IN_ALL)
        self._namespaces: WeakValueDictionary[str, Place] = WeakValueDictionary()
        self.turned_away = 0  # that have no place, and are still told so

    def places(self, namespace: str, most: int) -> Sequence[Place]:
        """For the connections of one port: itself, its namespace, and all."""
        port = Place(most, AT_PORT, within=(self.all, OF_PORT))
        own = self._namespaces.get(namespace) or Place(self.all.most, AT_PORT, within=(self.all, OF_NAMESPACE))
        self._namespaces[namespace] = own
        return port, own, self.all

    def enter(self, places: Sequence[Place], address: str, *, close: Callable[[], object]) -> Guest | None:
        """None: there is no place, and nobody who would have to make room. `close` is how the new one is made to."""
        name = client_of(address)
        for place in places:
            while place.is_full() or place.has_its_share(name):
                first = place.first_to_go(name)
                if first is None:
                    return None
                first.leave()
                first.close()
        guest = Guest(name, places, close)
        for place in guest.places:
            place.remember(guest)
        return guest
