"""Audits the cache now and then: lists the names and versions of all objects and compares them with the store.

This finds what watches don't report: that a first list is complete, that an object was deleted while no watch ran, that
a kind appeared or disappeared, and that a watch is open but silent. Nothing is concluded while the API server doesn't
answer.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from slipway.kube.errors import KindMissingError, KubeError
from slipway.kube.store import Difference, Mark, Store
from slipway.kube.watched_namespaces import Area, Lister, WatchedNamespaces
from slipway.objects.kinds import Kind, Object

logger = logging.getLogger(__name__)

LISTS_AT_A_TIME = 2  # all of them together would need as much memory for a moment as the caches do


@dataclass(frozen=True)
class AuditTimes:
    """When a kind is compared again, in seconds."""

    every: float = 120.0
    unsynced: float = 0.25  # first pause while the first list arrives; it doubles up to `missing`
    missing: float = 5.0  # for a kind that the cluster doesn't have
    behind: float = 10.0  # for so long, a change may be on its way
    restarted: float = 30.0  # between two restarts of the watches
    listed: float = 1.0  # after a new list has arrived, which doesn't report what was deleted before


@dataclass(frozen=True)
class Late:
    """An object whose newest state no watch has reported, and since when that is known."""

    mark: Mark
    since: float


class CacheAuditor:
    """Lives as long as the watches. `on_gone` is called with the objects that were deleted unseen; `on_stale` when the
    watches must restart, with the reason.

    `namespaces`: of the kinds that are watched in some namespaces alone.
    """

    def __init__(
        self,
        client: Lister,
        store: Store,
        selectors: Mapping[Kind, str],
        *,
        on_gone: Callable[[Kind, Sequence[Object]], None],
        on_stale: Callable[[Kind, str], None],
        namespaces: Mapping[Kind, Sequence[str]] | None = None,
        times: AuditTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._store, self._selectors = client, store, selectors
        self._on_gone, self._on_stale = on_gone, on_stale
        self._namespaces = WatchedNamespaces(client, namespaces or {}, clock, store.may_be_closed)
        self._times, self._clock = times or AuditTimes(), clock
        self._lists = asyncio.Semaphore(LISTS_AT_A_TIME)
        self._behind: dict[Kind, Mapping[str, Late]] = {}
        self._stale_since: dict[Kind, float] = {}
        self._to_check = {kind: asyncio.Event() for kind in selectors}
        self._listed_at: dict[Kind, float] = {}  # when the last object of a list arrived
        self._restarted_at = float("-inf")  # when the watches last started, or a restart was last demanded

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for kind in self._selectors:
                group.create_task(self._keep_checking(kind), name=f"audit of {kind}")
            group.create_task(self._keep_opening(), name="audit of namespaces")

    @property
    def closed(self) -> Collection[Area]:
        """Where we have no rights now, so that no watch could start there."""
        return self._namespaces.closed

    def is_closed(self, kind: Kind, namespace: str) -> bool:
        return self._namespaces.is_closed(kind, namespace)

    def stale(self, now: float) -> dict[Kind, float]:
        """The kinds whose watch has certainly missed a change, and for how many seconds."""
        return {kind: now - since for kind, since in self._stale_since.items()}

    def watches_start(self) -> None:
        """Call this when the watches start. A list without objects causes no event, so a check of all follows soon."""
        self._restarted_at = self._clock()
        for event in self._to_check.values():
            event.set()

    def object_listed(self, kind: Kind) -> None:
        """Call this with each object of a list. What was deleted before it is not reported, so a check follows soon."""
        if kind in self._to_check:
            self._listed_at[kind] = self._clock()
            self._to_check[kind].set()

    async def prepare(self) -> None:
        """Finds the kinds that the cluster doesn't have, and the namespaces that are closed to us.

        Call this before the watches start, so that no event arrives meanwhile.
        """
        for kind in self._selectors:
            if not await self._client.serves(kind) and not self._store.is_missing(kind):
                self._lost(kind)
        for area in self._namespaces.all:
            await self._namespaces.try_to_open(area, self._known_kinds())

    async def check(self, kind: Kind) -> None:
        """Compares once. Raises KubeError while the API server doesn't answer."""
        if self._store.is_missing(kind):
            await self._search(kind)
            return
        async with self._lists:
            await self._compare(kind)

    async def _compare(self, kind: Kind) -> None:
        since = self._store.mark
        try:
            seen = await self._namespaces.list_all(kind, self._selectors[kind])
        except KindMissingError:
            self._lost(kind)
            return
        if seen:
            now = self._clock()
            self._judge(kind, self._store.compare(kind, seen.listed, since=since, now=now, unseen=seen.unseen))
        else:
            self._store.close(kind)

    async def _keep_opening(self) -> None:
        """We may be given the rights again."""
        while True:
            await asyncio.sleep(self._times.missing)
            for area in sorted(self._namespaces.closed, key=str):
                with suppress(KubeError):
                    if kind := await self._namespaces.try_to_open(area, self._known_kinds()):
                        self._on_stale(kind, "may be watched")

    def _known_kinds(self) -> Collection[Kind]:
        return [kind for kind in self._selectors if not self._store.is_missing(kind)]

    # --- one kind ---------------------------------------------------------------------------------------------------

    async def _keep_checking(self, kind: Kind) -> None:
        unsynced_pause = self._times.unsynced
        while True:
            try:
                await self.check(kind)
            except KubeError as error:
                logger.info("The cache of %s is not checked now: %s", kind, error)
            if not self._store.is_synced(kind):
                await asyncio.sleep(unsynced_pause)
                unsynced_pause = min(unsynced_pause * 2, self._times.missing)
            else:
                await self._rest(kind)

    async def _rest(self, kind: Kind) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause(kind)):
                await self._to_check[kind].wait()
                await self._list_is_complete(kind)
        self._to_check[kind].clear()

    async def _list_is_complete(self, kind: Kind) -> None:
        """A list arrives object by object: waits until none has arrived for a while."""
        while (left := self._last_listed(kind) + self._times.listed - self._clock()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left)  # an event for each object would cost more

    def _last_listed(self, kind: Kind) -> float:
        return max(self._restarted_at, self._listed_at.get(kind, self._restarted_at))

    def _pause(self, kind: Kind) -> float:
        if self._store.is_missing(kind):
            return self._times.missing
        if self._behind.get(kind):
            return self._times.behind
        return self._times.every * random.uniform(0.9, 1.1)

    async def _search(self, kind: Kind) -> None:
        """kopf watches only the kinds that exist when it starts, unless it discovers kinds on its own."""
        if await self._client.serves(kind):
            logger.info("The cluster has the kind %s now", kind)
            self._store.found(kind)
            self._on_stale(kind, "appeared")

    def _lost(self, kind: Kind) -> None:
        logger.info("The cluster does not have the kind %s", kind)
        self._behind.pop(kind, None)
        self._stale_since.pop(kind, None)
        self._on_gone(kind, self._store.miss(kind))

    def _judge(self, kind: Kind, difference: Difference) -> None:
        if difference.ghosts:
            self._on_gone(kind, difference.ghosts)
        now, before = self._clock(), self._behind.get(kind, {})
        # An object that was behind before and has had no event since is still late by the same change.
        unchanged = {uid: late for uid, late in before.items() if difference.behind.get(uid) == late.mark}
        behind = {uid: unchanged.get(uid, Late(mark, now)) for uid, mark in difference.behind.items()}
        self._behind[kind] = behind
        since = min((late.since for late in behind.values()), default=now)
        since = max(since, self._listed_at.get(kind, since))  # while a list arrives, the rest of it isn't missing
        if now - since < self._times.behind:
            self._stale_since.pop(kind, None)
            return
        self._stale_since.setdefault(kind, since)
        if now - self._restarted_at >= self._times.restarted:  # before that, they may still deliver it
            self._restarted_at = now
            self._on_stale(kind, "is behind")
