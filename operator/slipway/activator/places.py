"""So many of something, of which no holder gets so much that others find nothing. Pure.

A taker has several holders above it (a client, its deployment, its namespace), and takes from the share of each. Shares
grow from the inner to the outer: the client's is the smallest, so that one that has taken all of it leaves something
of its deployment's share to other clients, and so on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import NamedTuple


class Share(NamedTuple):
    """The holder may have at most so many times what it leaves free: with 3, three quarters if it is alone."""

    holder: Hashable
    times_free: float


class Places:
    def __init__(self, total: int) -> None:
        self.total = total
        self.taken = 0
        self._held: defaultdict[Hashable, int] = defaultdict(int)

    def admit(self, shares: Iterable[Share], amount: int) -> bool:
        """Whether all of these holders may have so many more. Whoever has nothing yet may have all that is free."""
        left = self.total - self.taken - amount
        if left < 0:
            return False
        for holder, times_free in shares:
            mine = self._held.get(holder, 0)
            if mine and mine + amount > times_free * left:
                return False
        return True

    def alone(self, share: Share) -> int:
        """The most that this holder can have, if nobody else has anything."""
        return int(self.total * share.times_free / (1 + share.times_free))

    def take(self, shares: Iterable[Share], amount: int) -> None:
        self.taken += amount
        for holder, _ in shares:
            self._held[holder] += amount

    def give_back(self, shares: Iterable[Share], amount: int) -> None:
        self.taken -= amount
        for holder, _ in shares:
            self._held[holder] -= amount
            if not self._held[holder]:
                del self._held[holder]
