"""Runs reconciles, a few at a time and one per key at a time; `queue_backlog` has the rules.

Watches add the keys, so most are added many times and reconciled once. Each key is reconciled again after the resync
time, give or take a tenth: that finds what no watch has reported, and spreads the load.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from slipway.kube.errors import KubeError, NotLeaderError
from slipway.kube.metrics import QueueMetrics
from slipway.kube.queue_backlog import Backlog
from slipway.kube.queue_backoff import QueueBackoff

logger = logging.getLogger(__name__)

NEVER = math.inf
RETRY_WITHOUT_LEASE = 1.0  # seconds until a key is retried whose write was refused because we didn't lead

Key = TypeVar("Key", bound=Hashable)
Handle = Callable[[Key], Awaitable[float | None]]
"""Reconciles a key; returns after how many seconds to do so again: None for the resync time, NEVER if the object is
gone."""


class RetryLaterError(Exception):
    """A handler raises it if it knows why it can't continue yet. It counts as a failure, logged without a traceback."""

    def __init__(self, why: str, *, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


class WorkQueue(Generic[Key]):
    """Lives as long as the process. `pause` and `resume` are for standbys: keys are collected, and not reconciled."""

    def __init__(
        self,
        handle: Handle[Key],
        metrics: QueueMetrics,
        *,
        workers: int = 16,
        resync_every: float = 600.0,
        backoff: QueueBackoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._handle, self._metrics, self._workers, self._resync_every = handle, metrics, workers, resync_every
        self._clock, self._jitter = clock, jitter
        self._backlog: Backlog[Key] = Backlog(backoff)
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._is_open = True
        self._open_since = clock()
        metrics.watch_queue(depth=lambda: self.depth() if self._is_open else 0, oldest=self._oldest)

    # --- for its users ----------------------------------------------------------------------------------------------

    def add(self, key: Key) -> None:
        """Call this, like all methods below, in the event loop that runs the queue."""
        self._backlog.add(key, self._clock())
        self._changed.set()

    def add_after(self, key: Key, seconds: float) -> None:
        self._backlog.add_at(key, self._clock() + seconds)
        self._changed.set()

    def pause(self) -> None:
        self._is_open = False

    def resume(self) -> None:
        if not self._is_open:
            self._is_open, self._open_since = True, self._clock()
        self._changed.set()

    def depth(self) -> int:
        return self._backlog.depth()

    async def run(self) -> None:
        """Until it is cancelled. Reconciles in flight then continue, until `finish` ends them."""
        while True:
            self._changed.clear()
            self._start_ready()
            try:
                async with asyncio.timeout(self._until_next()):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def finish(self, within: float) -> bool:
        """Starts no reconcile and waits for those in flight; False if some had to be cancelled."""
        self.pause()
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks, timeout=within)
        for task in late:
            task.cancel()
        if late:
            logger.warning("%d reconciles did not end within %.0f s and were cancelled", len(late), within)
            await asyncio.wait(late)
        return not late

    def _oldest(self) -> float:
        """Since when it could have been taken: on a standby, keys wait for nothing that this replica does."""
        now = self._clock()
        return min(self._backlog.age(now), now - self._open_since) if self._is_open else 0.0

    # --- one key ----------------------------------------------------------------------------------------------------

    def _start_ready(self) -> None:
        while self._is_open and len(self._tasks) < self._workers:
            key = self._backlog.take(self._clock())
            if key is None:
                return
            task = asyncio.create_task(self._reconcile(key), name=f"reconcile {key}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _until_next(self) -> float | None:
        """The seconds until a key is due; None while no reconcile could start: another event must happen first."""
        due = self._backlog.next_due()
        can_start = self._is_open and len(self._tasks) < self._workers
        return max(0.0, due - self._clock()) if can_start and due is not None else None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()

    async def _reconcile(self, key: Key) -> None:
        began, result = self._clock(), "error"
        try:
            again_after = await self._handle(key)
            self._succeeded(key, again_after)
            result = "success"
        except asyncio.CancelledError:
            result = "cancelled"
            self._backlog.failed(key, self._clock(), jitter=0.0)
            raise
        except NotLeaderError as error:
            result = "not_leader"
            logger.info("Waiting for the Lease: %s", error, extra={"key": str(key)})
            self._retry_soon(key)
        except Exception as error:  # one object that can't be reconciled must not stop the others
            self._failed(key, error)
        finally:
            self._metrics.count_reconcile(result, self._clock() - began)

    def _succeeded(self, key: Key, again_after: float | None) -> None:
        if again_after is None:
            again_after = self._resync_every * (0.9 + 0.2 * self._jitter())
        now = self._clock()
        if again_after == NEVER:
            self._backlog.forget(key)
        else:
            self._backlog.add_at(key, now + again_after)
        self._backlog.done(key, now)

    def _retry_soon(self, key: Key) -> None:
        """The election may report that we lead again before this worker sees NotLeaderError: then no later `resume`
        would bring the key back."""
        self._backlog.add_at(key, self._clock() + RETRY_WITHOUT_LEASE)
        self._backlog.done(key, self._clock())

    def _failed(self, key: Key, error: Exception) -> None:
        at_least = error.after if isinstance(error, RetryLaterError) else 0.0
        wait = self._backlog.failed(key, self._clock(), jitter=self._jitter(), at_least=at_least)
        self._metrics.retries.inc()
        is_expected = isinstance(error, KubeError | RetryLaterError)
        unexpected = None if is_expected else error
        logger.warning("Failed, next try in %.1f s: %s", wait, error, exc_info=unexpected, extra={"key": str(key)})
