"""Checks now and then that the cache is what the API server has: names and versions alone are listed and compared.

This finds what watches don't tell: that a first list is complete, that an object ended during a break, that a kind came
or went, and that a watch is open but silent. Nothing is concluded while the API server doesn't answer.
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
from slipway.kube.places import Lister, Places
from slipway.kube.store import Difference, Mark, Store
from slipway.objects.kinds import Kind, Object

logger = logging.getLogger(__name__)


AT_ONCE = 2  # lists: all of them together would need as much memory for a moment as the caches do


@dataclass(frozen=True)
class Rhythm:
    """In seconds."""

    every: float = 120.0
    unsynced: float = 0.25  # first pause while the first list comes in; it doubles up to `missing`
    missing: float = 5.0
    behind: float = 10.0  # for so long, a change may be on its way
    begun: float = 30.0  # after watches have begun anew, before they do so once more
    listed_anew: float = 1.0  # after a new list has come in, which doesn't tell what ended before


@dataclass(frozen=True)
class Late:
    """An object whose newest state was not told, and since when that was seen."""

    mark: Mark
    since: float


class Auditor:
    """`on_gone` hears of each object that ended unseen; `on_stale` when watches must begin anew, and why.

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
        rhythm: Rhythm | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._store, self._selectors = client, store, selectors
        self._on_gone, self._on_stale = on_gone, on_stale
        self._places = Places(client, namespaces or {}, clock)
        self._rhythm, self._clock = rhythm or Rhythm(), clock
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._behind: dict[Kind, Mapping[str, Late]] = {}
        self._stale_since: dict[Kind, float] = {}
        self._to_check = {kind: asyncio.Event() for kind in selectors}
        self._listed_at: dict[Kind, float] = {}  # when the last object of a list came in
        self._begun_at = float("-inf")  # when watches were last told to begin, or began

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for kind in self._selectors:
                group.create_task(self._keep_checking(kind), name=f"audit of {kind}")
            group.create_task(self._keep_trying(), name="audit of namespaces")

    @property
    def closed(self) -> Collection[str]:
        """Namespaces that nobody lets us look into now, so that no watch there could begin."""
        return self._places.closed

    def stale(self, now: float) -> dict[Kind, float]:
        """The kinds whose watch surely has missed something, and for how many seconds."""
        return {kind: now - since for kind, since in self._stale_since.items()}

    def begun(self) -> None:
        """To be told when watches begin. Nobody hears of a list without objects, so a check of all follows soon."""
        self._begun_at = self._clock()
        for event in self._to_check.values():
            event.set()

    def listed_anew(self, kind: Kind) -> None:
        """To be told with each object of a list. What ended before is missed for sure, so a check follows soon."""
        if kind in self._to_check:
            self._listed_at[kind] = self._clock()
            self._to_check[kind].set()

    async def look_around(self) -> None:
        """Finds the kinds that the cluster doesn't have, and the namespaces that are closed to us.

        Before watches begin, so that none comes in between.
        """
        for kind in self._selectors:
            if not await self._client.serves(kind) and not self._store.is_missing(kind):
                self._lost(kind)
        for namespace in self._places.all:
            await self._places.try_to_open(namespace, self._known_kinds())

    async def check(self, kind: Kind) -> None:
        """Compares once. Raises KubeError while the API server doesn't answer."""
        if self._store.is_missing(kind):
            await self._look_for(kind)
            return
        async with self._turns:
            await self._compare(kind)

    async def _compare(self, kind: Kind) -> None:
        since = self._store.mark
        try:
            seen = await self._places.look(kind, self._selectors[kind])
        except KindMissingError:
            self._lost(kind)
            return
        if seen:
            now = self._clock()
            self._judge(kind, self._store.compare(kind, seen.listed, since=since, now=now, unseen=seen.unseen))

    async def _keep_trying(self) -> None:
        """Whoever has closed a namespace to us may open it again."""
        while True:
            await asyncio.sleep(self._rhythm.missing)
            for namespace in sorted(self._places.closed):
                with suppress(KubeError):
                    if kind := await self._places.try_to_open(namespace, self._known_kinds()):
                        self._on_stale(kind, "may be watched")

    def _known_kinds(self) -> Collection[Kind]:
        return [kind for kind in self._selectors if not self._store.is_missing(kind)]

    # --- one kind ---------------------------------------------------------------------------------------------------

    async def _keep_checking(self, kind: Kind) -> None:
        unsynced_pause = self._rhythm.unsynced
        while True:
            try:
                await self.check(kind)
            except KubeError as error:
                logger.info("The cache of %s is not checked now: %s", kind, error)
            if not self._store.is_synced(kind):
                await asyncio.sleep(unsynced_pause)
                unsynced_pause = min(unsynced_pause * 2, self._rhythm.missing)
            else:
                await self._rest(kind)

    async def _rest(self, kind: Kind) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause(kind)):
                await self._to_check[kind].wait()
                await self._has_come_in(kind)
        self._to_check[kind].clear()

    async def _has_come_in(self, kind: Kind) -> None:
        """A list comes in object by object."""
        while (left := self._came_in_at(kind) + self._rhythm.listed_anew - self._clock()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left)  # an event for each object would cost more

    def _came_in_at(self, kind: Kind) -> float:
        return max(self._begun_at, self._listed_at.get(kind, self._begun_at))

    def _pause(self, kind: Kind) -> float:
        if self._store.is_missing(kind):
            return self._rhythm.missing
        if self._behind.get(kind):
            return self._rhythm.behind
        return self._rhythm.every * random.uniform(0.9, 1.1)

    async def _look_for(self, kind: Kind) -> None:
        """kopf starts watching kinds only at its begin, if there is none to tell it of new ones."""
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
        # What was behind before and has got no event since is still the same delay.
        unchanged = {uid: late for uid, late in before.items() if difference.behind.get(uid) == late.mark}
        behind = {uid: unchanged.get(uid, Late(mark, now)) for uid, mark in difference.behind.items()}
        self._behind[kind] = behind
        since = min((late.since for late in behind.values()), default=now)
        since = max(since, self._listed_at.get(kind, since))  # while a list comes in, what it hasn't told isn't missed
        if now - since < self._rhythm.behind:
            self._stale_since.pop(kind, None)
            return
        self._stale_since.setdefault(kind, since)
        if now - self._begun_at >= self._rhythm.begun:  # else they may still bring it
            self._begun_at = now
            self._on_stale(kind, "is behind")
