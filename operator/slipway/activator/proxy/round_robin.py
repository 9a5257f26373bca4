"""Whose turn it is among those who wait: round robin among holders, and in order among what one holder has. Pure.

Below a holder there may be other holders: turns rotate among addresses, and behind one address among owners of keys.
So a holder with hundreds of requests delays another one by one turn and not by hundreds. Entries that have left are
skipped when it would be their turn; `tidy` removes all of them.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar


class RoundRobinEntry(Protocol):
    @property
    def number(self) -> int:
        """Unique among the entries of one holder; the lowest is first."""

    @property
    def queued(self) -> bool:
        """False: it has left."""


E = TypeVar("E", bound=RoundRobinEntry)


class RoundRobin(Generic[E]):
    """`holders`, where they are named: the outer one first."""

    def __init__(self) -> None:
        self._own: list[tuple[int, E]] = []  # a heap
        self._of: OrderedDict[str, RoundRobin[E]] = OrderedDict()  # the next one first

    def __len__(self) -> int:
        return len(self._own) + sum(map(len, self._of.values()))

    def add(self, entry: E, holders: Sequence[str]) -> None:
        if not holders:
            heapq.heappush(self._own, (entry.number, entry))
            return
        outer, *inner = holders
        if outer not in self._of:
            self._of[outer] = RoundRobin()
        self._of[outer].add(entry, inner)

    def first(self) -> E | None:
        while self._own and not self._own[0][1].queued:
            heapq.heappop(self._own)
        if self._own:
            return self._own[0][1]
        while self._of:
            outer, inner = next(iter(self._of.items()))
            if found := inner.first():
                return found
            del self._of[outer]
        return None

    def take(self) -> E:
        """Removes and returns the first entry; its holders come last then."""
        if not self.first():
            raise LookupError("nothing waits")
        if self._own:
            return heapq.heappop(self._own)[1]
        outer, inner = next(iter(self._of.items()))
        self._of.move_to_end(outer)
        return inner.take()

    def return_turn(self, holders: Sequence[str]) -> None:
        """Puts these holders first. They are those of the entry that was taken last, or of one that waits."""
        if holders:
            outer, *inner = holders
            self._of.move_to_end(outer, last=False)
            self._of[outer].return_turn(inner)

    def tidy(self) -> None:
        self._own = [each for each in self._own if each[1].queued]
        heapq.heapify(self._own)
        for outer, inner in list(self._of.items()):
            inner.tidy()
            if not inner:
                del self._of[outer]
