"""The audit of the cache against the API server: what it finds, and when it reports watches as stale."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

from slipway.kube.cache_audit import AuditTimes, CacheAuditor
from slipway.kube.errors import Call, KindMissingError, UnavailableError
from slipway.kube.health import caches_are_filled, watches_are_fresh
from slipway.kube.store import Store
from slipway.objects.kinds import POD, Kind, Object
from support.fakes import virtual_time
from support.fakes.virtual_time import now

TIMES = AuditTimes(every=100, unsynced=1, missing=5, behind=10)
CALL = Call("list", "Pod", "")


def pod(name: str, version: int) -> Object:
    return {"metadata": {"name": name, "namespace": "chat", "uid": name, "resourceVersion": str(version)}}


class World:
    """An API server with pods, and everything that the auditor reports."""

    def __init__(self) -> None:
        self.pods: list[Object] = []
        self.has_kind = self.answers = True
        self.lists = 0
        self.store = Store([POD])
        self.gone: list[Object] = []
        self.stale: list[tuple[float, str]] = []
        self.auditor = CacheAuditor(
            self,
            self.store,
            {POD: ""},
            on_gone=self._gone,
            on_stale=lambda _, why: self.stale.append((now() - 1000, why)),
            times=TIMES,
            clock=now,
        )

    def _gone(self, _: Kind, objects: Sequence[Object]) -> None:
        self.gone += objects

    def watched(self, type_: str | None, obj: Object) -> None:
        self.store.take(POD, type_, obj, now=now())

    async def list_metadata(
        self, kind: Kind, namespace: str | None = None, *, label_selector: str = ""
    ) -> list[Object]:
        self.lists += 1
        if not self.answers:
            raise UnavailableError(CALL, "no answer")
        if not self.has_kind:
            raise KindMissingError(CALL, "404 page not found", code=404)
        return list(self.pods)

    async def serves(self, kind: Kind) -> bool:
        return self.has_kind

    async def exists(self, kind: Kind, name: str, namespace: str | None = None) -> bool:
        raise AssertionError("the auditor should not query one namespace if all are watched")


@asynccontextmanager
async def audited(world: World) -> AsyncIterator[World]:
    task = asyncio.create_task(world.auditor.run())
    await asyncio.sleep(0)
    yield world
    task.cancel()


def test_the_cache_is_filled_when_all_that_exists_has_been_watched() -> None:
    async def test() -> None:
        world = World()
        world.pods = [pod("a", 1)]
        is_filled = caches_are_filled(world.store)
        async with audited(world):
            await asyncio.sleep(3)
            assert is_filled() == "not yet listed: Pod"
            world.watched(None, pod("a", 1))
            await asyncio.sleep(5)
            assert is_filled() is None

    virtual_time.run(test())


def test_a_missed_deletion_is_found_and_reported() -> None:
    async def test() -> list[Object]:
        world = World()
        world.pods = [pod("a", 1)]
        world.watched(None, pod("a", 1))
        async with audited(world):
            world.pods = []
            await asyncio.sleep(120)
        return world.gone

    assert virtual_time.run(test()) == [pod("a", 1)]


def test_a_deletion_before_a_watch_listed_again_is_found_immediately() -> None:
    async def test() -> list[Object]:
        world = World()
        world.pods = [pod("a", 1), pod("b", 2)]
        world.watched(None, pod("a", 1))
        world.watched(None, pod("b", 2))
        async with audited(world):
            await asyncio.sleep(50)
            world.pods = [pod("b", 2)]
            world.watched(None, pod("b", 2))
            world.auditor.object_listed(POD)
            await asyncio.sleep(2)
        return world.gone

    assert virtual_time.run(test()) == [pod("a", 1)]


def test_a_long_new_list_is_checked_once_when_it_is_complete() -> None:
    async def test() -> int:
        world = World()
        async with audited(world):
            await asyncio.sleep(20)
            before = world.lists
            for _ in range(300):
                world.auditor.object_listed(POD)
                await asyncio.sleep(0.01)
            await asyncio.sleep(2)
        return world.lists - before

    assert virtual_time.run(test()) == 1


def test_a_first_list_that_takes_minutes_is_not_restarted() -> None:
    async def test() -> tuple[list[tuple[float, str]], str | None]:
        world = World()
        world.pods = [pod(f"pod-{number}", number) for number in range(1, 200)]
        async with audited(world):
            for each in world.pods:
                world.auditor.object_listed(POD)
                world.watched(None, each)
                await asyncio.sleep(1)
            await asyncio.sleep(10)
        return world.stale, caches_are_filled(world.store)()

    assert virtual_time.run(test()) == ([], None)


def test_a_list_that_stops_halfway_is_restarted() -> None:
    async def test() -> list[tuple[float, str]]:
        world = World()
        world.pods = [pod("a", 1), pod("b", 2)]
        async with audited(world):
            await asyncio.sleep(8)
            world.auditor.object_listed(POD)
            world.watched(None, pod("a", 1))
            await asyncio.sleep(9)
            assert not world.stale
            await asyncio.sleep(10)
        return world.stale

    assert [why for _, why in virtual_time.run(test())] == ["is behind"]


def test_a_watch_that_keeps_missing_a_change_is_stale_and_is_restarted_from_time_to_time() -> None:
    async def test() -> tuple[list[tuple[float, str]], str | None]:
        world = World()
        world.watched(None, pod("a", 1))
        world.pods = [pod("a", 1)]
        async with audited(world):
            world.pods = [pod("a", 2)]
            await asyncio.sleep(300)
            return world.stale, watches_are_fresh(world.auditor, limit=60, clock=now)()

    stale, complaint = virtual_time.run(test())
    assert {why for _, why in stale} == {"is behind"}
    assert 10 <= stale[0][0] <= 130
    assert all(later - sooner >= TIMES.restarted for (sooner, _), (later, _) in pairwise(stale))
    assert complaint is not None
    assert complaint.startswith("watches have missed changes: Pod for")


def test_a_restart_that_does_not_help_makes_no_watch_fresh() -> None:
    async def test() -> str | None:
        world = World()
        world.watched(None, pod("a", 1))
        world.pods = [pod("a", 2)]
        async with audited(world):
            for _ in range(10):
                await asyncio.sleep(20)
                world.auditor.watches_start()
            return watches_are_fresh(world.auditor, limit=60, clock=now)()

    assert virtual_time.run(test())


def test_a_watch_that_catches_up_is_fresh() -> None:
    async def test() -> str | None:
        world = World()
        world.watched(None, pod("a", 1))
        world.pods = [pod("a", 2)]
        async with audited(world):
            await asyncio.sleep(15)
            assert len(world.stale) == 1
            world.watched("MODIFIED", pod("a", 2))
            await asyncio.sleep(30)
            return watches_are_fresh(world.auditor, limit=0, clock=now)()

    assert virtual_time.run(test()) is None


def test_an_object_that_changes_all_the_time_does_not_make_a_watch_stale() -> None:
    async def test() -> list[tuple[float, str]]:
        world = World()
        async with audited(world):
            for version in range(1, 200):
                world.pods = [pod("a", version)]
                await asyncio.sleep(1)
                world.watched("MODIFIED", pod("a", version))
        return world.stale

    assert virtual_time.run(test()) == []


def test_a_kind_that_is_never_watched_is_found_stale_too() -> None:
    async def test() -> list[tuple[float, str]]:
        world = World()
        world.pods = [pod("a", 1)]
        async with audited(world):
            await asyncio.sleep(60)
        return world.stale

    assert virtual_time.run(test())[0][1] == "is behind"


def test_while_the_api_server_does_not_respond_nothing_is_concluded() -> None:
    async def test() -> tuple[list[tuple[float, str]], list[Object]]:
        world = World()
        world.pods = [pod("a", 1)]
        world.watched(None, pod("a", 1))
        async with audited(world):
            world.answers = False
            await asyncio.sleep(1000)
        return world.stale, world.gone

    assert virtual_time.run(test()) == ([], [])


def test_the_objects_of_a_removed_kind_are_removed_from_the_cache() -> None:
    async def test() -> list[Object]:
        world = World()
        world.pods = [pod("a", 1)]
        world.watched(None, pod("a", 1))
        async with audited(world):
            world.has_kind = False
            await asyncio.sleep(120)
        assert world.store.is_missing(POD)
        return world.gone

    assert virtual_time.run(test()) == [pod("a", 1)]


def test_a_kind_that_appears_is_noticed_within_seconds_and_watched() -> None:
    async def test() -> list[tuple[float, str]]:
        world = World()
        world.has_kind = False
        async with audited(world):
            await asyncio.sleep(500)
            world.has_kind = True
            await asyncio.sleep(6)
        return world.stale

    [(at, why)] = virtual_time.run(test())
    assert why == "appeared"
    assert 500 <= at <= 505.1


def test_a_quiet_cluster_is_listed_rarely() -> None:
    async def test() -> int:
        world = World()
        async with audited(world):
            await asyncio.sleep(1000)
        return world.lists

    assert virtual_time.run(test()) <= 13
