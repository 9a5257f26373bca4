"""Which key is reconciled next, and when: the rules of the work queue, without tasks or clocks. Pure.

- One worker at a time takes a key. A key that is added meanwhile is taken again afterwards.
- A key that is added while it waits still waits once. One that is added while it is held back after a failure is ready
  immediately: what made it fail may have changed.
- Each failure in a row holds it back twice as long (`queue_backoff`); a success resets that.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

from slipway.kube.queue_backoff import QueueBackoff

Key = TypeVar("Key", bound=Hashable)

MOST_TIMERS_PER_KEY, FEW = 2, 64
"""Each reconcile of a key leaves an expired timer behind: with more of them per key, they are cleared."""


class Backlog(Generic[Key]):
    """Times are seconds on any clock that never goes back."""

    def __init__(self, backoff: QueueBackoff | None = None) -> None:
        self._backoff = backoff or QueueBackoff()
        self._ready: dict[Key, float] = {}  # since when, the oldest first
        self._later: dict[Key, float] = {}  # from when on
        self._timers: list[tuple[float, int, Key]] = []  # of `_later`, and some that are expired
        self._timer_count = 0
        self._working: set[Key] = set()
        self._again: set[Key] = set()  # of `_working`, those that were added meanwhile
        self._failures: dict[Key, int] = {}

    def add(self, key: Key, now: float) -> None:
        if key in self._working:
            self._again.add(key)
            return
        self._later.pop(key, None)
        self._ready.setdefault(key, now)

    def add_at(self, key: Key, at: float) -> None:
        """No later than `at`: the earliest time counts."""
        if key in self._ready or key in self._again or self._later.get(key, at + 1) <= at:
            return
        self._later[key] = at
        self._timer_count += 1
        heapq.heappush(self._timers, (at, self._timer_count, key))
        if len(self._timers) > MOST_TIMERS_PER_KEY * (len(self._later) + FEW):
            self._timers = [timer for timer in self._timers if self._later.get(timer[2]) == timer[0]]
            heapq.heapify(self._timers)

    def take(self, now: float) -> Key | None:
        """The key that has waited longest; the worker must call `done` or `failed` with it."""
        self._move_due(now)
        for key in self._ready:
            del self._ready[key]
            self._working.add(key)
            return key
        return None

    def done(self, key: Key, now: float) -> None:
        self._failures.pop(key, None)
        self._release(key, now)

    def failed(self, key: Key, now: float, *, jitter: float, at_least: float = 0.0) -> float:
        """Returns the seconds for which it is held back, unless it is added before."""
        self._failures[key] = self._failures.get(key, 0) + 1
        wait = max(self._backoff.after(self._failures[key], jitter), at_least)
        self.add_at(key, now + wait)
        self._release(key, now)
        return wait

    def forget(self, key: Key) -> None:
        """Call this if nothing is left to do for the key; one that was added meanwhile is still taken again."""
        self._later.pop(key, None)
        self._failures.pop(key, None)

    def next_due(self) -> float | None:
        """When a key that is held back becomes ready; None if there is none."""
        self._drop_expired_timers()
        return self._timers[0][0] if self._timers else None

    def depth(self) -> int:
        """How many keys are ready and wait for a worker."""
        return len(self._ready)

    def age(self, now: float) -> float:
        """How long the first of these has waited."""
        return max(0.0, now - min(self._ready.values())) if self._ready else 0.0

    def failures(self, key: Key) -> int:
        return self._failures.get(key, 0)

    def _release(self, key: Key, now: float) -> None:
        self._working.remove(key)
        if key in self._again:
            self._again.remove(key)
            self.add(key, now)

    def _move_due(self, now: float) -> None:
        self._drop_expired_timers()
        while self._timers and self._timers[0][0] <= now:
            at, _, key = heapq.heappop(self._timers)
            del self._later[key]
            if key in self._working:
                self._again.add(key)
            else:
                self._ready.setdefault(key, at)
            self._drop_expired_timers()

    def _drop_expired_timers(self) -> None:
        while self._timers and self._later.get(self._timers[0][2]) != self._timers[0][0]:
            heapq.heappop(self._timers)
