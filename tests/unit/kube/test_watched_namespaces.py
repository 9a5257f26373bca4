"""Namespaces that are watched by name: a forbidden one does not affect the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from slipway.kube.cache_audit import AuditTimes, CacheAuditor
from slipway.kube.errors import Call, ForbiddenError, KubeError
from slipway.kube.health import caches_are_filled
from slipway.kube.store import Store
from slipway.kube.watched_namespaces import Area, WatchedNamespaces
from slipway.objects.kinds import NAMESPACE, POD, SERVICE, Kind, Object
from support.fakes import virtual_time
from support.fakes.virtual_time import now

TIMES = AuditTimes(every=100, unsynced=1, missing=5, behind=10)
WHERE = ("chat", "code")


def pod(name: str, namespace: str) -> Object:
    return {"metadata": {"name": name, "namespace": namespace, "uid": name, "resourceVersion": "1"}}


class World:
    """An API server that admits us to `chat` and `code`, and everything that the auditor reports."""

    def __init__(self) -> None:
        self.pods = [pod("a", "chat"), pod("b", "code"), pod("c", "elsewhere")]
        self.refused: dict[str, int] = {}  # status codes by namespace
        self.gone_namespaces: set[str] = set()
        self.requests: list[tuple[Kind, str | None]] = []
        self.store = Store([POD, SERVICE])
        self.gone: list[Object] = []
        self.stale: list[str] = []
        self.auditor = CacheAuditor(
            self,
            self.store,
            {POD: "", SERVICE: ""},
            namespaces={POD: WHERE, SERVICE: WHERE},
            on_gone=self._gone,
            on_stale=lambda _, why: self.stale.append(why),
            times=TIMES,
            clock=now,
        )

    def _gone(self, _: Kind, objects: Sequence[Object]) -> None:
        self.gone += objects

    def watch_all(self) -> None:
        for each in self.pods[:2]:
            self.store.take(POD, None, each, now=now())

    async def list_metadata(
        self, kind: Kind, namespace: str | None = None, *, label_selector: str = ""
    ) -> list[Object]:
        self.requests.append((kind, namespace))
        if code := self.refused.get(namespace or ""):
            raise ForbiddenError(Call("list", kind.name, ""), "it may not", code=code)
        return [each for each in self.pods if kind == POD and each["metadata"]["namespace"] == namespace]

    async def serves(self, kind: Kind) -> bool:
        return True

    async def exists(self, kind: Kind, name: str, namespace: str | None = None) -> bool:
        assert kind == NAMESPACE
        return name not in self.gone_namespaces


def audited(test: Callable[[World], Awaitable[None]], of: type[World] | None = None) -> World:
    world = (of or World)()

    async def run() -> None:
        world.watch_all()
        task = asyncio.create_task(world.auditor.run())
        try:
            await test(world)
        finally:
            task.cancel()

    virtual_time.run(run())
    return world


def test_only_the_named_namespaces_are_queried() -> None:
    async def test(world: World) -> None:
        await asyncio.sleep(3)
        assert caches_are_filled(world.store)() is None

    world = audited(test)
    assert {namespace for _, namespace in world.requests} == set(WHERE)
    assert world.gone == []


def test_objects_of_a_forbidden_namespace_stay_cached_and_the_others_are_audited() -> None:
    async def test(world: World) -> None:
        world.refused["code"] = 403
        world.pods = world.pods[1:]
        await asyncio.sleep(300)
        assert caches_are_filled(world.store)() is None

    world = audited(test)
    assert world.gone == [pod("a", "chat")]
    assert world.store.get(POD, "b", "code")
    assert world.stale == []


def test_the_objects_of_a_deleted_namespace_are_removed_from_the_cache() -> None:
    async def test(world: World) -> None:
        world.refused["code"] = 403
        world.gone_namespaces.add("code")
        await asyncio.sleep(300)

    assert audited(test).gone == [pod("b", "code")]


def test_if_all_namespaces_are_forbidden_nothing_is_known_and_nothing_concluded() -> None:
    async def test(world: World) -> None:
        world.refused = dict.fromkeys(WHERE, 403)
        await asyncio.sleep(300)
        assert caches_are_filled(world.store)() == "not yet listed: Pod, Service"

    assert audited(test).gone == []


class CanDoWithout(World):
    """Services are in a namespace of their own, and nothing must wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store([POD, SERVICE], may_be_closed=[SERVICE])
        self.auditor = CacheAuditor(
            self,
            self.store,
            {POD: "", SERVICE: ""},
            namespaces={POD: WHERE, SERVICE: ("tenants",)},
            on_gone=self._gone,
            on_stale=lambda _, why: self.stale.append(why),
            times=TIMES,
            clock=now,
        )


def test_nothing_waits_for_a_kind_that_can_be_done_without_while_all_its_namespaces_are_forbidden() -> None:
    async def test(world: World) -> None:
        world.refused["tenants"] = 403
        await asyncio.sleep(3)
        assert world.store.unsynced() == []
        assert world.stale == []
        world.refused.clear()
        await asyncio.sleep(TIMES.missing + 0.1)
        assert world.stale == ["may be watched"]
        await world.auditor.check(SERVICE)
        assert world.store.unsynced() == []

    assert audited(test, CanDoWithout).gone == []


def test_a_kind_that_can_be_done_without_is_waited_for_while_it_is_not_known_to_be_forbidden() -> None:
    async def test(world: World) -> None:
        world.refused["tenants"] = 401
        await asyncio.sleep(300)
        assert world.store.unsynced() == [SERVICE]

    audited(test, CanDoWithout)


def test_when_a_namespace_becomes_allowed_the_watches_restart() -> None:
    async def test(world: World) -> None:
        world.refused["code"] = 403
        await asyncio.sleep(20)
        assert world.stale == []
        world.refused.clear()
        await asyncio.sleep(TIMES.missing + 0.1)

    assert audited(test).stale == ["may be watched"]


def test_a_namespace_that_is_forbidden_and_allowed_all_the_time_does_not_stop_the_other_watches() -> None:
    async def test(world: World) -> None:
        for _ in range(360):
            world.refused["code"] = 403
            await world.auditor.prepare()  # as if the forbidden watches had ended
            world.refused.clear()
            await asyncio.sleep(10)

    assert 3 <= len(audited(test).stale) <= 12


def test_a_long_forbidden_namespace_is_watched_as_soon_as_one_that_never_was_forbidden() -> None:
    async def test(world: World) -> None:
        for _ in range(3):
            world.refused["code"] = 403
            await world.auditor.prepare()
            world.refused.clear()
            await asyncio.sleep(2 * 3600)

    assert len(audited(test).stale) == 3


def test_the_kind_that_was_forbidden_decides_when_the_namespace_is_allowed() -> None:
    """Other kinds may be allowed there all the time."""

    async def test() -> None:
        world = World()
        namespaces = WatchedNamespaces(world, {POD: WHERE, SERVICE: WHERE})
        world.refused["code"] = 403
        await namespaces.list_all(SERVICE, "")
        world.refused.clear()
        world.requests.clear()
        assert await namespaces.try_to_open(Area("code"), [POD, SERVICE]) == SERVICE
        assert world.requests == [(SERVICE, "code")]

    asyncio.run(test())


def test_a_rejected_token_says_nothing_about_a_namespace() -> None:
    async def test() -> WatchedNamespaces:
        world = World()
        world.refused["code"] = 401
        namespaces = WatchedNamespaces(world, {POD: WHERE})
        with pytest.raises(KubeError):
            await namespaces.list_all(POD, "")
        return namespaces

    assert not asyncio.run(test()).closed


# --- a kind that can be done without, in the namespaces of the others ------------------------------------------------


class OneKindForbidden(World):
    """Services can be done without, and our rights on them in `code` are gone."""

    def __init__(self) -> None:
        super().__init__()
        self.is_forbidden = True
        self.store = Store([POD, SERVICE], may_be_closed=[SERVICE])
        self.auditor = CacheAuditor(
            self,
            self.store,
            {POD: "", SERVICE: ""},
            namespaces={POD: WHERE, SERVICE: WHERE},
            on_gone=self._gone,
            on_stale=lambda kind, why: self.stale.append(f"{kind.name} {why}"),
            times=TIMES,
            clock=now,
        )

    async def list_metadata(
        self, kind: Kind, namespace: str | None = None, *, label_selector: str = ""
    ) -> list[Object]:
        if self.is_forbidden and (kind, namespace) == (SERVICE, "code"):
            raise ForbiddenError(Call("list", kind.name, ""), "it may not", code=403)
        return await super().list_metadata(kind, namespace, label_selector=label_selector)


def test_a_namespace_where_a_kind_that_can_be_done_without_is_forbidden_is_closed_for_that_kind_alone() -> None:
    async def test(world: World) -> None:
        world.pods = [world.pods[0]]
        await asyncio.sleep(300)
        assert world.auditor.is_closed(SERVICE, "code")
        assert not world.auditor.is_closed(SERVICE, "chat")
        assert not world.auditor.is_closed(POD, "code")
        assert caches_are_filled(world.store)() is None

    world = audited(test, OneKindForbidden)
    assert world.gone == [pod("b", "code")], "the others are audited there"
    assert world.stale == []


def test_when_it_is_allowed_again_it_is_watched_there() -> None:
    async def test(world: World) -> None:
        assert isinstance(world, OneKindForbidden)
        await asyncio.sleep(20)
        world.is_forbidden = False
        await asyncio.sleep(TIMES.missing + 0.1)
        assert not world.auditor.closed

    assert audited(test, OneKindForbidden).stale == ["Service may be watched"]


def test_where_the_namespace_is_closed_it_is_not_watched_either() -> None:
    async def test(world: World) -> None:
        assert isinstance(world, OneKindForbidden)
        world.is_forbidden = False
        world.refused["code"] = 403
        await asyncio.sleep(20)
        assert world.auditor.is_closed(POD, "code")
        assert world.auditor.is_closed(SERVICE, "code")

    audited(test, OneKindForbidden)
