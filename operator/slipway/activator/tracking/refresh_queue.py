"""Decides which model's state is computed again, and when: after a change, one at a time, with pauses in between.

A refresh costs the more, the more pods a model has; and the tenant of a namespace may create thousands of pods, and
change them all the time. So however often a model changes meanwhile, it is refreshed once; turns rotate among
namespaces; and a model rests after its refresh, in proportion to how long that took. With a few pods that is a moment.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from slipway.api.model_key import ModelKey

REST = 20  # times as long as the refresh took, so that one model gets a twentieth of the event loop
LONGEST_REST = 0.25  # seconds


class RefreshQueue:
    """`refresh` must not fail. `clock`: the event loop's; `work`: the processor time that this thread has used."""

    def __init__(
        self,
        refresh: Callable[[ModelKey], None],
        clock: Callable[[], float],
        work: Callable[[], float] = time.thread_time,
    ) -> None:
        self._refresh, self._clock, self._work = refresh, clock, work
        self._urgent: dict[ModelKey, None] = {}  # in this order
        self._waiting: OrderedDict[str, dict[ModelKey, None]] = OrderedDict()  # by namespace, the next one first
        self._resting: set[ModelKey] = set()
        self._rests: list[tuple[float, ModelKey]] = []  # a heap: until when
        self._again: set[ModelKey] = set()  # those that rest and have changed
        self._has_changed = asyncio.Event()

    def changed(self, key: ModelKey, *, urgently: bool = False) -> None:
        """`urgently`: before all that aren't, in the order of the calls, and without a rest."""
        if urgently:
            self._urgent.setdefault(key)
        elif key in self._resting:
            self._again.add(key)
        else:
            self._waiting.setdefault(key.namespace, {}).setdefault(key)
        self._has_changed.set()

    async def run(self) -> None:
        while True:
            self._has_changed.clear()
            self._end_rests()
            if key := self._next():
                self._refresh_one(key)
                await asyncio.sleep(0)
            else:
                await self._wait()

    def _next(self) -> ModelKey | None:
        if self._urgent:
            return _take_first(self._urgent)
        if not self._waiting:
            return None
        namespace, of_namespace = next(iter(self._waiting.items()))
        key = _take_first(of_namespace)
        self._waiting.move_to_end(namespace)
        if not of_namespace:
            del self._waiting[namespace]
        return key

    def _refresh_one(self, key: ModelKey) -> None:
        before = self._work()
        self._refresh(key)
        took = self._work() - before
        if key not in self._resting:  # it may be, if its refresh was urgent
            self._resting.add(key)
            heapq.heappush(self._rests, (self._clock() + min(LONGEST_REST, REST * took), key))

    def _end_rests(self) -> None:
        now = self._clock()
        while self._rests and self._rests[0][0] <= now:
            _, key = heapq.heappop(self._rests)
            self._resting.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.changed(key)

    async def _wait(self) -> None:
        """Until something changes, or a rest ends."""
        left = max(0.0, self._rests[0][0] - self._clock()) if self._again else None
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._has_changed.wait()


def _take_first(keys: dict[ModelKey, None]) -> ModelKey:
    first = next(iter(keys))
    del keys[first]
    return first
