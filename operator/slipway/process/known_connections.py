"""Which connections of known clients (KEDA, our other replicas) stay open at a port of our own. Pure.

KEDA is one address that acts for all tenants. It opens a connection for each spelling of the activator's address in a
ScaledObject, so a tenant decides how many it opens. But the namespace of its calls comes from the ScaledObject's own
metadata. So a connection counts for the namespaces of the models that were called for on it; before the first such call
it counts for its address.

Where the limit is reached, the oldest connection of the owner that has most is closed. A connection that several
namespaces share counts for the one that has fewest: the connection for all models that the operator made stays open,
however many one tenant causes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(eq=False)
class KnownConnection:
    """One connection; `close` ends it, `whose` are the owners for which it counts."""

    close: Callable[[], object]
    whose: set[str]
    is_by_address: bool = True  # no call on it was for a model that is served here yet


class KnownConnections:
    def __init__(self, most: int) -> None:
        self._most = most
        self._all: dict[KnownConnection, None] = {}  # the oldest first
        self._of: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        return len(self._all) >= self._most

    @property
    def used(self) -> float:
        """The share that is taken."""
        return len(self._all) / self._most

    def enter(self, address: str, *, close: Callable[[], object]) -> KnownConnection:
        """The new one is always accepted; `close` ends it when another needs the room."""
        while self.is_full:
            first = max(self._all, key=self._have)
            self.leave(first)
            first.close()
        regular = KnownConnection(close, {address})
        self._all[regular] = None
        self._of[address] += 1
        return regular

    def came_for(self, regular: KnownConnection, namespace: str) -> None:
        """A call on this connection was for a model of that namespace, which is served here."""
        if regular not in self._all or (namespace in regular.whose and not regular.is_by_address):
            return
        if regular.is_by_address:
            self._of -= Counter(regular.whose)
            regular.whose, regular.is_by_address = set(), False
        regular.whose.add(namespace)
        self._of[namespace] += 1

    def leave(self, regular: KnownConnection) -> None:
        """Calling it again changes nothing."""
        if regular in self._all:
            del self._all[regular]
            self._of -= Counter(regular.whose)

    def _have(self, regular: KnownConnection) -> int:
        return min(self._of[each] for each in regular.whose)
