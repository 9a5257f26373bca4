"""Watching survives faults of kopf; what kopf does right is tested with a real API server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, cast

import kopf
import pytest
from slipway.kube import handover, kopf_watch, watching
from slipway.kube.cache_audit import AuditTimes
from slipway.kube.errors import Call, ForbiddenError, UnavailableError
from slipway.kube.metrics import WatchMetrics
from slipway.kube.watch import Watch
from slipway.kube.watching import Watching
from slipway.objects.kinds import CONFIG_MAP, POD, Kind, Object
from slipway.process.metrics import MetricsRegistry

ONE: Object = {"metadata": {"name": "a", "namespace": "b", "uid": "c", "resourceVersion": "1"}}


class Lister:
    """Lists an object that no watch reports."""

    configuration = None

    async def list_metadata(self, *_: Any, **__: Any) -> list[Object]:
        return [ONE]

    async def serves(self, kind: Kind) -> bool:
        return True

    async def exists(self, *_: Any) -> bool:
        return True


class UnstoppableKopf:
    """Goes on after a request to stop, as kopf does if a watch is cancelled just while it closes."""

    def __init__(self) -> None:
        self.runs, self.ends = 0, 0

    async def run(self, stop_flag: Any, **_: Any) -> None:
        self.runs += 1
        try:
            await asyncio.sleep(60)
        finally:
            self.ends += 1


@pytest.fixture
def unstoppable(monkeypatch: pytest.MonkeyPatch) -> UnstoppableKopf:
    unstoppable = UnstoppableKopf()
    monkeypatch.setattr(kopf, "operator", unstoppable.run)
    monkeypatch.setattr(kopf_watch, "STOP_WITHIN", 0.05)
    return unstoppable


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - another thread sends no event
            await asyncio.sleep(0.01)


async def test_a_kopf_that_does_not_end_is_abandoned(
    unstoppable: UnstoppableKopf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    watched = Watching(
        [Watch(CONFIG_MAP, lambda _: ["key"])],
        client=Lister(),
        add=lambda _: None,
        metrics=WatchMetrics(MetricsRegistry()),
        audit_times=AuditTimes(every=0.05, unsynced=0.01, missing=0.05, behind=0.05, restarted=0.05, listed=0.01),
    )
    task = asyncio.create_task(watched.run())
    await until(lambda: unstoppable.runs >= 2)
    assert "kopf has not ended on its own, so it is cancelled" in caplog.text
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: unstoppable.ends == unstoppable.runs)


class BriefKopf:
    """Records what it is to watch, and ends on request; or immediately, if it watches the namespace `ends_in`."""

    def __init__(self, *, ends_in: str = "") -> None:
        self.where: list[tuple[bool, tuple[str, ...]]] = []
        self._ends_in = ends_in

    async def run(self, stop_flag: asyncio.Event, clusterwide: bool, namespaces: list[str], **_: Any) -> None:
        self.where.append((clusterwide, tuple(namespaces)))
        if self._ends_in not in namespaces:
            await stop_flag.wait()


IN_ALL, IN_ONE = (True, ()), (False, ("home",))


def watched_in_one_namespace_and_in_all(lister: Lister) -> Watching[str]:
    watches = [Watch(CONFIG_MAP, lambda _: ["key"], namespaces=("home",)), Watch(POD, lambda _: ["key"])]
    times = AuditTimes(every=60, unsynced=60, missing=60, behind=60, restarted=60, listed=0.01)
    return Watching(
        watches, client=lister, add=lambda _: None, metrics=WatchMetrics(MetricsRegistry()), audit_times=times
    )


async def test_a_kind_watched_in_one_namespace_needs_no_rights_in_others(monkeypatch: pytest.MonkeyPatch) -> None:
    brief, lister = BriefKopf(), RecordingLister()
    monkeypatch.setattr(kopf, "operator", brief.run)
    task = asyncio.create_task(watched_in_one_namespace_and_in_all(lister).run())
    await until(lambda: len(brief.where) == 2 and len(lister.requests) >= 2)
    task.cancel()
    await asyncio.wait([task])
    assert set(brief.where) == {IN_ALL, IN_ONE}
    assert set(lister.requests) == {(CONFIG_MAP, "home"), (POD, None)}


async def test_if_one_kopf_ends_both_are_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    brief = BriefKopf(ends_in="home")
    monkeypatch.setattr(kopf, "operator", brief.run)
    monkeypatch.setattr(watching, "FIRST_PAUSE", 0.01)
    task = asyncio.create_task(watched_in_one_namespace_and_in_all(RecordingLister()).run())
    await until(lambda: brief.where.count(IN_ALL) >= 2 and brief.where.count(IN_ONE) >= 2)
    task.cancel()
    await asyncio.wait([task])


async def test_a_forbidden_namespace_is_left_out_until_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    brief, lister = BriefKopf(), Guarded(closed={"shut"})
    monkeypatch.setattr(kopf, "operator", brief.run)
    task = asyncio.create_task(watched_in(("open", "shut"), lister).run())
    await until(lambda: brief.where == [(False, ("open",))])
    lister.closed.clear()
    await until(lambda: brief.where[1:] == [(False, ("open", "shut"))])
    task.cancel()
    await asyncio.wait([task])


async def test_if_every_namespace_is_forbidden_no_watch_starts_before_one_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brief, lister = BriefKopf(), Guarded(closed={"shut"})
    monkeypatch.setattr(kopf, "operator", brief.run)
    watched = watched_in(("shut",), lister)
    task = asyncio.create_task(watched.run())
    await until(lambda: watched.auditor.closed)
    assert brief.where == []
    lister.closed.clear()
    await until(lambda: brief.where == [(False, ("shut",))])
    task.cancel()
    await asyncio.wait([task])


async def test_a_kind_that_can_be_done_without_is_left_out_alone_where_it_is_forbidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class OfPods(Guarded):
        async def list_metadata(self, kind: Kind, namespace: str | None = None, **_: Any) -> list[Object]:
            return await super().list_metadata(kind, namespace if kind == POD else None)

    brief = BriefKopf()
    monkeypatch.setattr(kopf, "operator", brief.run)
    where = ("open", "shut")
    watches = [
        Watch(CONFIG_MAP, lambda _: ["key"], namespaces=where),
        Watch(POD, lambda _: ["key"], namespaces=where, may_be_closed=True),
    ]
    metrics = WatchMetrics(MetricsRegistry())
    watched = Watching(watches, client=OfPods(closed={"shut"}), add=lambda _: None, metrics=metrics)
    task = asyncio.create_task(watched.run())
    await until(lambda: len(brief.where) == 2)
    task.cancel()
    await asyncio.wait([task])
    assert sorted(brief.where) == [(False, ("open",)), (False, where)]


def watched_in(namespaces: tuple[str, ...], lister: Lister) -> Watching[str]:
    times = AuditTimes(every=60, unsynced=60, missing=0.05, behind=60, restarted=60, listed=0.01)
    watches = [Watch(CONFIG_MAP, lambda _: ["key"], namespaces=namespaces)]
    return Watching(
        watches, client=lister, add=lambda _: None, metrics=WatchMetrics(MetricsRegistry()), audit_times=times
    )


class Guarded(Lister):
    def __init__(self, *, closed: set[str]) -> None:
        self.closed = closed

    async def list_metadata(self, kind: Kind, namespace: str | None = None, **_: Any) -> list[Object]:
        if namespace in self.closed:
            raise ForbiddenError(Call("list", kind.name, ""), "it may not", code=403)
        return []


class RecordingLister(Lister):
    def __init__(self) -> None:
        self.requests: list[tuple[Kind, str | None]] = []

    async def list_metadata(self, kind: Kind, namespace: str | None = None, **_: Any) -> list[Object]:
        self.requests.append((kind, namespace))
        return []


class ListingKopf:
    """Lists many objects, reports the deletion of the last one, and ends; restarted, it lists nothing and goes on."""

    MANY = 50

    def __init__(self) -> None:
        self.runs = 0

    async def run(self, registry: kopf.OperatorRegistry, stop_flag: asyncio.Event, **_: Any) -> None:
        self.runs += 1
        if self.runs > 1:
            await stop_flag.wait()
            return
        [handler] = registry._watching.get_all_handlers()
        handle = cast(Any, handler.fn)
        for number in range(self.MANY):
            metadata = {**ONE["metadata"], "name": f"{number}", "uid": f"{number}", "resourceVersion": f"{number + 1}"}
            await handle(event={"type": None, "object": {"metadata": metadata}})
        await handle(event={"type": "DELETED", "object": {"metadata": metadata}})


async def test_all_events_of_a_watch_are_in_the_cache_before_the_next_watch_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listing = ListingKopf()
    monkeypatch.setattr(kopf, "operator", listing.run)
    monkeypatch.setattr(watching, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(kopf_watch, "CLOSE_WITHIN", 0.0)
    monkeypatch.setattr(handover, "LONGEST_PORTION", 0.0)  # one at a time
    watched = Watching(
        [Watch(CONFIG_MAP, lambda _: ["key"])],
        client=FailingLister(),
        add=lambda _: time.sleep(0.01),  # long after the end of the watch
        metrics=WatchMetrics(MetricsRegistry()),
    )
    task = asyncio.create_task(watched.run())
    await until(lambda: listing.runs == 2)
    assert {name for _, name in watched.store.places(CONFIG_MAP)} == {f"{each}" for each in range(listing.MANY - 1)}
    task.cancel()
    await asyncio.wait([task])


class FailingLister(Lister):
    """Gives the audit no list, so that it repairs nothing."""

    async def list_metadata(self, *_: Any, **__: Any) -> list[Object]:
        raise UnavailableError(Call("list", "ConfigMap", ""), "it is down")


async def test_kopf_remembers_no_objects() -> None:
    memories, body = kopf_watch.NoMemories(), cast(kopf.RawBody, ONE)
    for _ in range(3):
        await memories.recall(body, noticed_by_listing=True)
    assert [*memories.iter_all_memories()] == []
    await memories.forget(body)


async def test_the_caches_are_filled_when_the_first_list_of_every_kind_is_complete() -> None:
    watches = [Watch(CONFIG_MAP, lambda _: ["key"]), Watch(POD, lambda _: ["key"])]
    metrics = WatchMetrics(MetricsRegistry())
    watched = Watching(watches, client=Lister(), add=lambda _: None, metrics=metrics)
    filled = asyncio.create_task(watched.until_filled())
    for kind in (CONFIG_MAP, POD):
        await asyncio.sleep(0)
        assert not filled.done()
        watched.store.compare(kind, [], since=watched.store.mark, now=0)
    async with asyncio.timeout(1):
        await filled
