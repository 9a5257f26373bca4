"""A limit of which no holder gets so much that others find nothing. Pure.

What takes from it has several holders above it (a client, its model, its namespace), and takes from the share of each.
Shares grow from the inner to the outer: the client's is the smallest, so that one that has taken all of it leaves
something of its model's share to other clients, and so on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

Share = tuple[Hashable, float]
"""A holder, and how many times what it leaves free it may have at most: with 3, three quarters if it is alone."""


class FairLimit:
    """Shares are listed with the smallest first."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.taken = 0
        self._held: defaultdict[Hashable, int] = defaultdict(int)

    def admits(self, shares: Sequence[Share], amount: int) -> bool:
        """Whether all of these holders may have so many more. A holder that has nothing yet may have all that is
        free."""
        taken = self.taken + amount
        left = self.total - taken
        if left < 0:
            return False
        if taken <= shares[0][1] * left:
            return True  # even if one holder had all that is taken
        for holder, times_free in shares:
            held = self._held.get(holder, 0)
            if held and held + amount > times_free * left:
                return False
        return True

    def alone(self, times_free: float) -> int:
        """The most that a holder with such a share can have, if no other holder has anything."""
        return int(self.total * times_free / (1 + times_free))

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
