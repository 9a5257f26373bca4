"""Reads about once a minute what running pods have done: `/info` of each. For costs, nothing else watches pods. And
which objectives they can count, by the boundaries of their histograms.

The first reading of a pod comes at a time of its own within the first minute, so that a new leader doesn't read all of
them at once; and the last one when it starts to drain. A pod that doesn't respond is read again a minute later.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from slipway.api.model_key import ModelKey
from slipway.contract.buckets import Boundaries
from slipway.observing.ledger import Use
from slipway.observing.speculation import NO_DRAFTS, Drafts, band_of, recent, together
from slipway.observing.usage import Report, RunningPod, Usage, report_in
from slipway.operator.reconciling.pod_info import get_info
from slipway.operator.reconciling.rooms import Rooms

EVERY, SOONEST, TICK = 60.0, 5.0, 1.0  # seconds

Fetch = Callable[[str], Awaitable[bytes | None]]
OnUse = Callable[[ModelKey, str, Use | None], None]


@dataclass
class _Followed:
    pod: RunningPod
    due: float
    task: asyncio.Task[None] | None = None
    drafts: Drafts = NO_DRAFTS  # as of the last reading
    recent: Drafts = NO_DRAFTS
    boundaries: Boundaries | None = None  # None: it wasn't read yet


class UsagePolling:
    """`on_use` is called with each reading (None: its runtime doesn't report any use); `changed` when a reading changes
    what the status says."""

    def __init__(
        self,
        *,
        on_use: OnUse,
        changed: Callable[[ModelKey], None],
        leads: Callable[[], bool] = lambda: True,
        fetch: Fetch = get_info,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_use, self._changed, self._leads = on_use, changed, leads
        self._fetch, self._clock = fetch, clock
        self._followed: dict[ModelKey, dict[str, _Followed]] = {}
        self._with_objectives: set[ModelKey] = set()
        self._rooms = Rooms()

    def follow(self, key: ModelKey, pods: Iterable[RunningPod], *, has_objectives: bool = False) -> None:
        """Only these pods of the model are read from now on."""
        (self._with_objectives.add if has_objectives else self._with_objectives.discard)(key)
        known, now = self._followed.pop(key, {}), self._clock()
        followed = {pod.uid: self._known(known.pop(pod.uid, None), pod, now) for pod in pods}
        for each in known.values():
            _cancel(each)
        if followed:
            self._followed[key] = followed

    def forget(self, key: ModelKey) -> None:
        self.follow(key, ())

    def start_over(self) -> None:
        for key in list(self._followed):
            self.forget(key)

    def drafts(self, key: ModelKey) -> Drafts:
        """Of all pods of the model, lately."""
        return together(*(each.recent for each in self._followed.get(key, {}).values()))

    def boundaries(self, key: ModelKey) -> dict[str, Boundaries]:
        """Of the pods that have been read, by their uids."""
        followed = self._followed.get(key, {})
        return {uid: each.boundaries for uid, each in followed.items() if each.boundaries is not None}

    async def run(self) -> None:
        """Until it is cancelled: then nothing more is read."""
        try:
            while True:
                await asyncio.sleep(TICK)
                if self._leads():
                    self.read_due()
        finally:
            self.start_over()

    def read_due(self) -> None:
        now = self._clock()
        for key, pods in self._followed.items():
            for each in pods.values():
                if each.due <= now and (each.task is None or each.task.done()):
                    each.due = now + EVERY
                    each.task = asyncio.create_task(self._read(key, each), name=f"usage {key}")

    def _known(self, known: _Followed | None, pod: RunningPod, now: float) -> _Followed:
        if known is None:
            return _Followed(pod, now + SOONEST + zlib.crc32(pod.uid.encode()) % (EVERY - SOONEST))
        if known.pod != pod:
            known.pod, known.due = pod, now
        return known

    async def _read(self, key: ModelKey, followed: _Followed) -> None:
        async with self._rooms.room(key.namespace):
            info = await self._fetch(followed.pod.address)
        if info is not None and (report := report_in(info)):
            self._record(key, followed, report)

    def _record(self, key: ModelKey, followed: _Followed, report: Report) -> None:
        is_first, before = followed.boundaries is None, followed.boundaries
        followed.boundaries = report.boundaries
        self._on_use(key, followed.pod.uid, report.usage and report.usage.use)
        is_silent = is_first and report.usage is None
        is_counted_differently = key in self._with_objectives and before != report.boundaries
        if self._drafted(key, followed, report.usage) or is_silent or is_counted_differently:
            self._changed(key)

    def _drafted(self, key: ModelKey, followed: _Followed, usage: Usage | None) -> bool:
        """Whether speculative decoding gets into another band."""
        before, now = self.drafts(key), (usage and usage.drafts) or NO_DRAFTS
        followed.recent, followed.drafts = recent(followed.recent, followed.drafts, now), now
        after = self.drafts(key)
        return after.is_enough and (not before.is_enough or band_of(before.acceptance) != band_of(after.acceptance))


def _cancel(followed: _Followed) -> None:
    if followed.task:
        followed.task.cancel()
