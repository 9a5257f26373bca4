"""What is to be worked on, and when: the rules of the work queue, without tasks or clocks. Pure.

- A key is worked on by one worker at a time. Added meanwhile, it is worked on again afterwards.
- Added while it waits, it still waits once. Added while it is held back after a failure, it is ready at once: what
  made it fail may have changed.
- After each failure in a row it is held back twice as long; a success forgets them.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

MOSTLY_VOID, FEW = 2, 64
"""So many times as many timers as keys are held back are too many: each look at a key leaves a void one behind."""


@dataclass(frozen=True)
class Backoff:
    """How long a key is held back after its first failure, and at most, in seconds."""

    first: float = 0.2
    longest: float = 300.0

    def after(self, failures: int, jitter: float) -> float:
        return min(self.first * 2.0 ** min(failures - 1, 40), self.longest) * (0.5 + jitter / 2)


class Backlog(Generic[Key]):
    """Times are seconds on any clock that never goes back."""

    def __init__(self, backoff: Backoff | None = None) -> None:
        self._backoff = backoff or Backoff()
        self._ready: dict[Key, float] = {}  # since when, the oldest first
        self._later: dict[Key, float] = {}  # from when on
        self._timers: list[tuple[float, int, Key]] = []  # of `_later`, with some that hold no longer
        self._timer_count = 0
        self._working: set[Key] = set()
        self._again: set[Key] = set()  # of those worked on
        self._failures: dict[Key, int] = {}

    def add(self, key: Key, now: float) -> None:
        if key in self._working:
            self._again.add(key)
            return
        self._later.pop(key, None)
        self._ready.setdefault(key, now)

    def add_at(self, key: Key, at: float) -> None:
        """No later than `at`: whichever comes first counts."""
        if key in self._ready or key in self._again or self._later.get(key, at + 1) <= at:
            return
        self._later[key] = at
        self._timer_count += 1
        heapq.heappush(self._timers, (at, self._timer_count, key))
        if len(self._timers) > MOSTLY_VOID * (len(self._later) + FEW):
            self._timers = [timer for timer in self._timers if self._later.get(timer[2]) == timer[0]]
            heapq.heapify(self._timers)

    def take(self, now: float) -> Key | None:
        """The key that has waited longest; it must be given back by `done` or `failed`."""
        self._move_what_is_due(now)
        for key in self._ready:
            del self._ready[key]
            self._working.add(key)
            return key
        return None

    def done(self, key: Key, now: float) -> None:
        self._failures.pop(key, None)
        self._give_back(key, now)

    def failed(self, key: Key, now: float, *, jitter: float, at_least: float = 0.0) -> float:
        """The seconds for which it is held back, unless it is added before."""
        self._failures[key] = self._failures.get(key, 0) + 1
        wait = max(self._backoff.after(self._failures[key], jitter), at_least)
        self.add_at(key, now + wait)
        self._give_back(key, now)
        return wait

    def forget(self, key: Key) -> None:
        """Nothing is left to do for the key, unless it was added while it was worked on."""
        self._later.pop(key, None)
        self._failures.pop(key, None)

    def next_due(self) -> float | None:
        """When a key that is held back becomes ready; None if there is none."""
        self._drop_void_timers()
        return self._timers[0][0] if self._timers else None

    def depth(self) -> int:
        """How many are ready and wait for a worker."""
        return len(self._ready)

    def age(self, now: float) -> float:
        """How long the first of them has waited."""
        return max(0.0, now - min(self._ready.values())) if self._ready else 0.0

    def failures(self, key: Key) -> int:
        return self._failures.get(key, 0)

    def _give_back(self, key: Key, now: float) -> None:
        self._working.remove(key)
        if key in self._again:
            self._again.remove(key)
            self.add(key, now)

    def _move_what_is_due(self, now: float) -> None:
        self._drop_void_timers()
        while self._timers and self._timers[0][0] <= now:
            at, _, key = heapq.heappop(self._timers)
            del self._later[key]
            if key in self._working:
                self._again.add(key)
            else:
                self._ready.setdefault(key, at)
            self._drop_void_timers()

    def _drop_void_timers(self) -> None:
        while self._timers and self._later.get(self._timers[0][2]) != self._timers[0][0]:
            heapq.heappop(self._timers)
