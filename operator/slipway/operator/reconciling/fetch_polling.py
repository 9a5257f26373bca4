"""Asks the fetchers in models' pods how far they are, every few seconds while one runs; no watch reports it.

What is shown of a model changes at most every few seconds, so that a slow download costs few writes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from slipway.api.model_key import ModelKey
from slipway.observing.fetch_progress import Progress, progress_in
from slipway.observing.fetching import FetchingPod
from slipway.operator.reconciling.pod_info import get_info
from slipway.operator.reconciling.rooms import Rooms

EVERY, SHOWN_EVERY = 2.0, 5.0  # seconds

Fetch = Callable[[str], Awaitable[bytes | None]]


@dataclass
class _Followed:
    """A model of which a fetcher runs; only its oldest pod is asked."""

    pod: FetchingPod
    due: float
    task: asyncio.Task[None] | None = None
    shown: Progress | None = None
    shown_at: float = float("-inf")


class FetchPolling:
    """`changed` is called when something else is to be shown."""

    def __init__(
        self,
        *,
        changed: Callable[[ModelKey], None],
        leads: Callable[[], bool] = lambda: True,
        fetch: Fetch = get_info,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changed, self._leads, self._fetch, self._clock = changed, leads, fetch, clock
        self._followed: dict[ModelKey, _Followed] = {}
        self._rooms = Rooms()

    def follow(self, key: ModelKey, pods: Iterable[FetchingPod]) -> Progress | None:
        """The oldest of these pods is asked from now on. Returns what is known of it."""
        pod, known = next(iter(pods), None), self._followed.get(key)
        if pod is None or (known and known.pod != pod):
            self.forget(key)
        if pod is None:
            return None
        return self._followed.setdefault(key, _Followed(pod, self._clock())).shown

    def forget(self, key: ModelKey) -> None:
        gone = self._followed.pop(key, None)
        if gone and gone.task:
            gone.task.cancel()

    def start_over(self) -> None:
        for key in list(self._followed):
            self.forget(key)

    async def run(self) -> None:
        """Until it is cancelled: then nothing more is asked."""
        try:
            while True:
                await asyncio.sleep(EVERY / 2)
                if self._leads():
                    self.ask_due()
        finally:
            self.start_over()

    def ask_due(self) -> None:
        now = self._clock()
        for key, each in self._followed.items():
            if each.due <= now and (each.task is None or each.task.done()):
                each.due = now + EVERY
                each.task = asyncio.create_task(self._ask(key, each), name=f"fetch {key}")

    async def _ask(self, key: ModelKey, followed: _Followed) -> None:
        async with self._rooms.room(key.namespace):
            info = await self._fetch(followed.pod.address)
        found = progress_in(info, followed.pod.name) if info is not None else None
        now = self._clock()
        if found and found != followed.shown and now - followed.shown_at >= SHOWN_EVERY:
            followed.shown, followed.shown_at = found, now
            self._changed(key)
