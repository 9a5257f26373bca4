"""When which deployment is looked at: soon after it has changed, one at a time, and others have a turn in between.

A look costs the more, the more pods a deployment has; and it is its namespace's to make thousands of pods, and to
change them all the time. So however often one changes meanwhile, it is looked at once; turns go from namespace to
namespace; and one rests after its look, in proportion to what that took. With a few pods that is a moment.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from slipway.activator.shared.model_key import ModelKey

REST = 20  # times as long as the look took, so that one deployment has a twentieth of the loop
LONGEST_REST = 0.25  # seconds


class RefreshQueue:
    """`look` must not fail. `clock`: the event loop's; `work`: the processor time that this thread has had."""

    def __init__(
        self,
        look: Callable[[ModelKey], None],
        clock: Callable[[], float],
        work: Callable[[], float] = time.thread_time,
    ) -> None:
        self._look, self._clock, self._work = look, clock, work
        self._urgent: dict[ModelKey, None] = {}  # in this order
        self._waiting: OrderedDict[str, dict[ModelKey, None]] = OrderedDict()  # by namespace, the next one first
        self._resting: set[ModelKey] = set()
        self._rests: list[tuple[float, ModelKey]] = []  # a heap: until when
        self._again: set[ModelKey] = set()  # those that rest and have changed
        self._has_changed = asyncio.Event()

    def changed(self, deployment: ModelKey, *, urgently: bool = False) -> None:
        """`urgently`: before all that aren't, in the order of the calls, and without a rest."""
        if urgently:
            self._urgent.setdefault(deployment)
        elif deployment in self._resting:
            self._again.add(deployment)
        else:
            self._waiting.setdefault(deployment.namespace, {}).setdefault(deployment)
        self._has_changed.set()

    async def run(self) -> None:
        while True:
            self._has_changed.clear()
            self._end_rests()
            if deployment := self._next():
                self._look_at(deployment)
                await asyncio.sleep(0)
            else:
                await self._wait()

    def _next(self) -> ModelKey | None:
        if self._urgent:
            return _first_of(self._urgent)
        if not self._waiting:
            return None
        namespace, theirs = next(iter(self._waiting.items()))
        deployment = _first_of(theirs)
        self._waiting.move_to_end(namespace)
        if not theirs:
            del self._waiting[namespace]
        return deployment

    def _look_at(self, deployment: ModelKey) -> None:
        before = self._work()
        self._look(deployment)
        took = self._work() - before
        if deployment not in self._resting:  # it may, if its look was urgent
            self._resting.add(deployment)
            heapq.heappush(self._rests, (self._clock() + min(LONGEST_REST, REST * took), deployment))

    def _end_rests(self) -> None:
        now = self._clock()
        while self._rests and self._rests[0][0] <= now:
            _, deployment = heapq.heappop(self._rests)
            self._resting.discard(deployment)
            if deployment in self._again:
                self._again.discard(deployment)
                self.changed(deployment)

    async def _wait(self) -> None:
        """Until something changes, or may be looked at again."""
        left = max(0.0, self._rests[0][0] - self._clock()) if self._again else None
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._has_changed.wait()


def _first_of(them: dict[ModelKey, None]) -> ModelKey:
    first = next(iter(them))
    del them[first]
    return first
