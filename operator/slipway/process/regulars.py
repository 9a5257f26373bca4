"""Who keeps a connection to a port of our own, of those who belong there. Pure.

KEDA is one address that speaks for everybody. It has a connection for each way in which somebody's ScaledObject spells
the activator's address, so a tenant decides how many it opens. But for whom it asks, it takes from the ScaledObject
itself. So a connection counts as one of those namespaces whose models were asked for on it; before that, as one of its
address.

Where there is no room, the oldest goes, of whoever has most. A connection that several share counts as one of whoever
of them has fewest: what serves all models that the operator has made stays, however many one of their tenants opens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(eq=False)
class Regular:
    """One connection."""

    close: Callable[[], object]
    whose: set[str]
    is_by_address: bool = True  # nothing was asked on it yet that has an answer here


class Regulars:
    def __init__(self, most: int) -> None:
        self._most = most
        self._all: dict[Regular, None] = {}  # the oldest first
        self._of: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        return len(self._all) >= self._most

    def enter(self, address: str, *, close: Callable[[], object]) -> Regular:
        """There is always a place: `close` is how the new one is made to leave for another."""
        while self.is_full:
            first = max(self._all, key=self._have)
            self.leave(first)
            first.close()
        regular = Regular(close, {address})
        self._all[regular] = None
        self._of[address] += 1
        return regular

    def came_for(self, regular: Regular, namespace: str) -> None:
        """It was asked on this connection for a model of that namespace, which is served here."""
        if regular not in self._all or (namespace in regular.whose and not regular.is_by_address):
            return
        if regular.is_by_address:
            self._of -= Counter(regular.whose)
            regular.whose, regular.is_by_address = set(), False
        regular.whose.add(namespace)
        self._of[namespace] += 1

    def leave(self, regular: Regular) -> None:
        """Leaving twice is leaving once."""
        if regular in self._all:
            del self._all[regular]
            self._of -= Counter(regular.whose)

    def _have(self, regular: Regular) -> int:
        return min(self._of[each] for each in regular.whose)
