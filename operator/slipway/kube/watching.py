"""Fills the caches: each event of a watch goes into the store, and the keys that it concerns go into the queue.

`KopfWatch` lists and watches; when one ends, all restart, with pauses that grow, and their first lists bring to the
store what was missed. The `CacheAuditor` finds what no watch reports, and says when to restart.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol

from slipway.kube.cache_audit import AuditTimes, CacheAuditor
from slipway.kube.errors import KubeError
from slipway.kube.handover import Handover
from slipway.kube.kopf_watch import KopfWatch
from slipway.kube.metrics import WatchMetrics
from slipway.kube.store import Store, place_of
from slipway.kube.watch import Key, Watch
from slipway.kube.watched_namespaces import Lister
from slipway.objects.kinds import Kind, Object

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds before a restart
STEADY_AFTER = 60.0  # seconds after which an end is no longer taken for a failed start


class WatchingClient(Lister, Protocol):
    """What a `KubeClient` has and watching needs."""

    @property
    def configuration(self) -> Any: ...


class Watching(Generic[Key]):
    """Run it in a task, for the life of the process.

    `index_by`: the labels by which the store finds objects.
    `on_kinds` is called when a kind appeared or disappeared, so that all can be reconciled again; `on_news` with each
    object whose newest state, or end, has got into the store.
    """

    def __init__(
        self,
        watches: Sequence[Watch[Key]],
        *,
        client: WatchingClient,
        add: Callable[[Key], None],
        metrics: WatchMetrics,
        index_by: Sequence[str] = (),
        on_kinds: Callable[[Kind], None] = lambda kind: None,
        on_news: Callable[[Kind, Object], None] = lambda kind, thing: None,
        audit_times: AuditTimes | None = None,
    ) -> None:
        self._watches: Mapping[Kind, Watch[Key]] = {watch.kind: watch for watch in watches}
        self._client, self._add, self._metrics, self._index_by = client, add, metrics, tuple(index_by)
        self._on_kinds, self._on_news = on_kinds, on_news
        self._synced = asyncio.Event()
        self.store = Store(
            self._watches,
            hints=[watch.kind for watch in watches if watch.is_hint],
            may_be_closed=[watch.kind for watch in watches if watch.may_be_closed],
            packed=[watch.kind for watch in watches if watch.packed],
            index_by=index_by,
            on_synced=self._synced.set,
        )
        selectors = {watch.kind: watch.label_selector for watch in watches if not watch.is_hint}
        self.auditor = CacheAuditor(
            client,
            self.store,
            selectors,
            namespaces={watch.kind: watch.namespaces for watch in watches if watch.namespaces},
            on_gone=self._gone,
            on_stale=self._restart,
            times=audit_times,
        )
        self._epoch = 0
        self._kopfs: list[KopfWatch] = []
        self._asked_to_stop = asyncio.Event()
        metrics.watch_ages(lambda: self.store.ages(time.monotonic()))
        metrics.unfilled_caches(lambda: len(self.store.unsynced()))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.auditor.run(), name="cache audit")
            group.create_task(self._keep_watching(), name="watching")

    async def until_filled(self) -> None:
        """Returns when the first lists of all kinds are complete: an object that isn't stored then doesn't exist."""
        while self.store.unsynced():
            self._synced.clear()
            await self._synced.wait()

    async def _keep_watching(self) -> None:
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            was_asked_to_stop = await self._watch_once()
            if was_asked_to_stop or time.monotonic() - began > STEADY_AFTER:
                pause = FIRST_PAUSE
            else:
                self._metrics.watch_restarts.labels("kopf ended").inc()
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _watch_once(self) -> bool:
        self._epoch += 1
        self.store.forget_hints()
        try:
            await self.auditor.prepare()
        except KubeError as error:
            logger.warning("The watches can't start yet: %s", error)
            return False
        self.auditor.watches_start()
        self._asked_to_stop.clear()
        handover = Handover()
        deliver = self._delivering(self._epoch, handover)
        groups = _by_namespaces(self._watches.values(), self.auditor.is_closed)
        self._kopfs = [KopfWatch(group, where, self._client.configuration, deliver) for where, group in groups.items()]
        try:
            return await self._first_end()
        finally:
            self._stop()
            await asyncio.gather(*(each.ended() for each in self._kopfs))
            await handover.all_taken()  # no later watch would report an end that is among them

    async def _first_end(self) -> bool:
        """One that ends takes the others with it, so that all restart together. True: they were asked to stop."""
        ends = [asyncio.create_task(each.ended()) for each in self._kopfs]
        asked = asyncio.create_task(self._asked_to_stop.wait())  # where no namespace is open, there is no kopf
        try:
            await asyncio.wait([*ends, asked], return_when=asyncio.FIRST_COMPLETED)
            return self._asked_to_stop.is_set()
        finally:
            for each in (*ends, asked):
                each.cancel()

    def _stop(self) -> None:
        self._asked_to_stop.set()
        for each in self._kopfs:
            each.stop()

    # --- what happens -----------------------------------------------------------------------------------------------

    def _delivering(self, epoch: int, handover: Handover | None = None) -> Callable[[Kind, str | None, Object], None]:
        """From kopf's thread into ours; events of a kopf that was stopped are dropped.

        Objects are shrunk in kopf's thread: some are so large that our loop would keep others waiting meanwhile.
        """
        into = handover or Handover()

        def deliver(kind: Kind, type_: str | None, shrunk: Object) -> None:
            if epoch == self._epoch:
                self._take(kind, type_, shrunk)

        def shrink_and_put(kind: Kind, type_: str | None, thing: Object) -> None:
            into.put(deliver, kind, type_, self._watches[kind].shrunk(thing, labels=self._index_by))

        return shrink_and_put

    def _take(self, kind: Kind, type_: str | None, shrunk: Object) -> None:
        if type_ is None:
            self.auditor.object_listed(kind)
        kept = self._watches[kind].adopt(shrunk)
        if kept and self.store.take(kind, type_, kept, now=time.monotonic(), epoch=self._epoch):
            self._on_news(kind, kept)
            self._concern(kind, kept)

    def _gone(self, kind: Kind, things: Sequence[Object]) -> None:
        for thing in things:
            self._concern(kind, thing)
        if self.store.is_missing(kind):
            self._on_kinds(kind)

    def _restart(self, kind: Kind, why: str) -> None:
        logger.info("All watches restart: %s %s", kind, why)
        self._metrics.watch_restarts.labels(why).inc()
        self._on_kinds(kind)
        self._stop()

    def _concern(self, kind: Kind, thing: Object) -> None:
        """The audit calls this as well, and must not end because of one object's content."""
        try:
            for key in self._watches[kind].keys(thing):
                self._add(key)
        except Exception:
            logger.exception("A change of %s %s is ignored: its keys can't be found", kind, "/".join(place_of(thing)))


def _by_namespaces(
    watches: Iterable[Watch[Any]], is_closed: Callable[[Kind, str], bool]
) -> dict[tuple[str, ...], list[Watch[Any]]]:
    """One kopf watches all of its kinds in the same namespaces; without any, in the entire cluster."""
    groups: dict[tuple[str, ...], list[Watch[Any]]] = {}
    for watch in watches:
        where = tuple(each for each in watch.namespaces if not is_closed(watch.kind, each))
        if where or not watch.namespaces:
            groups.setdefault(where, []).append(watch)
    return groups
