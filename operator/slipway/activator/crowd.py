"""Who may have a connection: in all, at one port, and from one address. Pure.

Where no more are taken, those go first that have said nothing yet, and of them the oldest of the address that has most.
So connections that are only opened, however many, keep out nobody but whoever opens them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from slipway.activator.addresses import client_of

SHARE = 3
"""One address may have at most so many times what it leaves free: three quarters if alone, less if there are others."""

MOST_TURNED_AWAY = 64
"""Connections without a place that are listened to for a while, so that they see why; others are closed at once."""


class State(Enum):
    SILENT = auto()  # has never said what it wants
    BUSY = auto()  # is being served
    IDLE = auto()  # between two requests


@dataclass(eq=False)
class Guest:
    """One connection, in each of the places that it counts in."""

    address: str
    places: Sequence[Place]
    close: Callable[[], None]
    state: State = State.SILENT

    def turn(self, state: State) -> None:
        for place in self.places:
            place.forget(self)
        self.state = state
        for place in self.places:
            place.remember(self)

    def leave(self) -> None:
        """Leaving twice is leaving once."""
        for place in self.places:
            place.forget(self)
        self.places = ()


class Place:
    """So many connections, those of each address and state in the order in which they came to be so."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._of: defaultdict[str, int] = defaultdict(int)
        self._in: dict[State, defaultdict[str, dict[Guest, None]]] = {state: defaultdict(dict) for state in State}

    def remember(self, guest: Guest) -> None:
        self.taken += 1
        self._of[guest.address] += 1
        self._in[guest.state][guest.address][guest] = None

    def forget(self, guest: Guest) -> None:
        self.taken -= 1
        self._of[guest.address] -= 1
        if not self._of[guest.address]:
            del self._of[guest.address]
        alike = self._in[guest.state]
        del alike[guest.address][guest]
        if not alike[guest.address]:
            del alike[guest.address]

    def is_full(self) -> bool:
        return self.taken >= self.most

    def has_its_share(self, address: str) -> bool:
        mine = self._of.get(address, 0)
        return mine > 0 and mine + 1 > SHARE * (self.most - self.taken - 1)

    def first_to_go(self, address: str) -> Guest | None:
        """Who makes room for one more of this address: its own, if it has its share. Idle ones, only for others."""
        if self.has_its_share(address) and not self.is_full():
            return next(iter(self._in[State.SILENT].get(address, ())), None)
        mine = self._of.get(address, 0) + 1
        silent = list(self._in[State.SILENT].values())
        idle = [alike for whose, alike in self._in[State.IDLE].items() if self._of[whose] > mine]
        most: dict[Guest, None] = max(silent or idle, key=len, default={})
        return next(iter(most), None)


class Crowd:
    """All connections of the process."""

    def __init__(self, most: int) -> None:
        self.all = Place(most)
        self.turned_away = 0  # that have no place, and are still told so

    def enter(self, port: Place, address: str, *, close: Callable[[], None]) -> Guest | None:
        """None: there is no place, and nobody who would have to make room. `close` is how the new one is made to."""
        name = client_of(address)
        for place in (port, self.all):
            while place.is_full() or place.has_its_share(name):
                first = place.first_to_go(name)
                if first is None:
                    return None
                first.leave()
                first.close()
        guest = Guest(name, (port, self.all), close)
        for place in guest.places:
            place.remember(guest)
        return guest
