"""Whose turn it is among those who wait: that of each holder in rotation, and of its own in their order. Pure.

A holder's own may be holders, too: turns go from address to address, and behind each from owner to owner. So one that
has hundreds waiting delays another by one turn and not by hundreds. Those who have left are passed over when their turn
would be; `tidy` forgets all of them.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar


class RoundRobinEntry(Protocol):
    @property
    def number(self) -> int:
        """No two of one holder have the same; the lowest is first."""

    @property
    def queued(self) -> bool:
        """Or it has left."""


W = TypeVar("W", bound=RoundRobinEntry)


class RoundRobin(Generic[W]):
    """`holders`, where they are named: the outer one first."""

    def __init__(self) -> None:
        self._own: list[tuple[int, W]] = []  # a heap
        self._of: OrderedDict[str, RoundRobin[W]] = OrderedDict()  # the next one first

    def __len__(self) -> int:
        return len(self._own) + sum(map(len, self._of.values()))

    def add(self, one: W, holders: Sequence[str]) -> None:
        if not holders:
            heapq.heappush(self._own, (one.number, one))
            return
        outer, *inner = holders
        if outer not in self._of:
            self._of[outer] = RoundRobin()
        self._of[outer].add(one, inner)

    def first(self) -> W | None:
        while self._own and not self._own[0][1].queued:
            heapq.heappop(self._own)
        if self._own:
            return self._own[0][1]
        while self._of:
            outer, theirs = next(iter(self._of.items()))
            if found := theirs.first():
                return found
            del self._of[outer]
        return None

    def take(self) -> W:
        """The first one, whose holders come after all others then."""
        if not self.first():
            raise LookupError("nobody waits")
        if self._own:
            return heapq.heappop(self._own)[1]
        outer, theirs = next(iter(self._of.items()))
        self._of.move_to_end(outer)
        return theirs.take()

    def give_back_turn(self, holders: Sequence[str]) -> None:
        """These holders come before all others. They are those of the one that was taken last, or of one that waits."""
        if holders:
            outer, *inner = holders
            self._of.move_to_end(outer, last=False)
            self._of[outer].give_back_turn(inner)

    def tidy(self) -> None:
        self._own = [each for each in self._own if each[1].queued]
        heapq.heapify(self._own)
        for outer, theirs in list(self._of.items()):
            theirs.tidy()
            if not theirs:
                del self._of[outer]
