"""The folders of a node, with mounts that are only written down: who gets which, and what is left of it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from slipway.nodecache import folders, mounts
from slipway.nodecache.eviction import Limits
from slipway.nodecache.metrics import NodeCacheMetrics
from slipway.nodecache.owners import Owner
from slipway.nodecache.store import NodeStore, RefusedError
from slipway.process.metrics import MetricsRegistry

UID, OTHER_UID = "0000000a-0000-0000-0000-000000000000", "0000000b-0000-0000-0000-000000000000"
OWNER, OTHER = Owner("team-a", UID), Owner("team-b", OTHER_UID)
KEY, OTHER_KEY = "0123456789abcdef", "fedcba9876543210"
KEYS = frozenset({KEY})


class Mounts:
    """Where which folder is mounted. The disk has one file system."""

    def __init__(self) -> None:
        self.there: dict[Path, str] = {}
        self.others: list[mounts.Mount] = []  # which this plugin hasn't made

    def mounted(self) -> list[mounts.Mount]:
        ours = [mounts.Mount("8:1", folder, target) for target, folder in self.there.items()]
        return [mounts.Mount("8:1", "/", Path("/")), *ours, *self.others]

    def bind(self, folder: int, target: Path) -> None:
        self.there[target] = str(Path(f"/proc/self/fd/{folder}").readlink())

    def unmount(self, target: Path) -> None:
        del self.there[target]


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> Mounts:
    made = Mounts()
    monkeypatch.setattr(mounts, "bind", made.bind)
    monkeypatch.setattr(mounts, "unmount", made.unmount)
    monkeypatch.setattr(mounts, "mounted", made.mounted)
    return made


class World:
    """A node; `restarted` is a new process of the plugin on it."""

    def __init__(self, folder: Path, mounted: Mounts) -> None:
        self.root, self.pods, self.mounted = folder / "models", folder / "kubelet/pods", mounted
        self.now = 1_000_000.0
        self.registry = MetricsRegistry("slipway")
        self.store = self.restarted()

    def restarted(self, **limits: Any) -> NodeStore:
        given = Limits(**{"total": None, "namespace": None, "min_free": 0.0, "unused_for": 3600.0, **limits})
        self.registry = MetricsRegistry("slipway")
        metrics = NodeCacheMetrics(self.registry, "node-1")
        self.store = NodeStore(self.root, self.pods, given, metrics, now=lambda: self.now)
        self.store.open()
        return self.store

    def target(self, name: str) -> Path:
        return self.pods / name / "volumes/kubernetes.io~csi/slipway-weights/mount"

    def fill(self, key: str, uid: str = UID, size: int = 1 << 16) -> Path:
        folder = self.root / "namespaces" / uid / key
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"w" * size)
        return folder

    def names(self, uid: str = UID) -> set[str]:
        folder = self.root / "namespaces" / uid
        return set(os.listdir(folder)) if folder.exists() else set()  # noqa: PTH208


@pytest.fixture
def world(tmp_path: Path, mounted: Mounts) -> World:
    return World(tmp_path, mounted)


async def test_pods_of_a_namespace_get_its_folder_and_others_another_one(world: World) -> None:
    await world.store.publish("csi-1", world.target("1"), OWNER, KEYS)
    await world.store.publish("csi-2", world.target("2"), OWNER, KEYS)
    await world.store.publish("csi-3", world.target("3"), OTHER, KEYS)
    first, second, third = (world.mounted.there[world.target(name)] for name in "123")
    assert first == second != third


async def test_a_publish_that_is_repeated_after_a_restart_changes_nothing(world: World) -> None:
    await world.store.publish("csi-1", world.target("1"), OWNER, KEYS)
    before = dict(world.mounted.there)
    await world.restarted().publish("csi-1", world.target("1"), OWNER, KEYS)
    assert world.mounted.there == before


async def test_an_unpublish_that_is_repeated_after_a_restart_changes_nothing(world: World) -> None:
    await world.store.publish("csi-1", world.target("1"), OWNER, KEYS)
    await world.store.unpublish("csi-1", world.target("1"))
    await world.restarted().unpublish("csi-1", world.target("1"))
    assert not world.mounted.there
    assert not world.target("1").exists()


@pytest.mark.parametrize("target", ["/etc", "/var/lib/kubelet/pods/../../../etc"])
async def test_nothing_is_mounted_outside_of_the_kubelet_s_folder(world: World, target: str) -> None:
    with pytest.raises(RefusedError, match="kubeletFolder"):
        await world.store.publish("csi-1", Path(target), OWNER, KEYS)
    with pytest.raises(RefusedError, match="kubeletFolder"):
        await world.store.publish("csi-1", world.pods / "../../elsewhere", OWNER, KEYS)


async def test_a_mount_that_fails_leaves_nothing_in_use(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int, target: Path) -> None:
        raise OSError(1, "not permitted", str(target))

    monkeypatch.setattr(mounts, "bind", fail)
    with pytest.raises(OSError, match="not permitted"):
        await world.store.publish("csi-1", world.target("1"), OWNER, KEYS)
    world.fill(KEY)
    world.now += 3601
    await world.store.sweep()
    assert KEY not in world.names()


# --- what is removed -------------------------------------------------------------------------------------------------


async def test_a_model_that_a_pod_names_stays_and_others_go(world: World) -> None:
    await world.store.publish("csi-1", world.target("1"), OWNER, KEYS)
    world.fill(KEY)
    world.fill(OTHER_KEY)
    await world.restarted(total=1 << 16).sweep()
    assert KEY in world.names()
    assert OTHER_KEY not in world.names()


async def test_it_also_stays_after_the_state_was_lost(world: World) -> None:
    await world.store.publish("csi-1", world.target("1"), OWNER, KEYS)
    world.fill(KEY)
    (world.root / "state.json").write_text("{")
    await world.restarted(total=1).sweep()
    assert KEY in world.names()


async def test_after_a_reboot_models_stay_until_their_pods_have_had_time_to_start_again(world: World) -> None:
    await world.store.publish("csi-1", world.target("1"), OWNER, KEYS)
    world.fill(KEY)
    world.mounted.there.clear()
    store = world.restarted(total=1)
    await store.sweep()
    assert KEY in world.names()
    world.now += 601
    await store.sweep()
    assert KEY not in world.names()


@pytest.mark.parametrize(
    ("device", "prefix", "at"),
    [
        ("8:2", "", "volumes/kubernetes.io~csi/v/mount"),  # of another file system
        ("8:1", "/volumes/v", "volumes/kubernetes.io~csi/v/mount"),  # a folder of the same name elsewhere
        ("8:1", "", "volume-subpaths/v/c/0"),
    ],
)
async def test_a_tenant_s_own_mount_keeps_nothing(world: World, device: str, prefix: str, at: str) -> None:
    world.fill(KEY)
    world.mounted.others = [
        mounts.Mount(device, f"{prefix}{world.root}/namespaces/{UID}", world.pods / "1" / at),
    ]
    await world.restarted(total=1).sweep()
    assert KEY not in world.names()


async def test_a_model_goes_a_while_after_its_last_pod(world: World) -> None:
    await world.store.publish("csi-1", world.target("1"), OWNER, KEYS)
    world.fill(KEY)
    world.now += 5000
    await world.store.sweep()
    await world.store.unpublish("csi-1", world.target("1"))
    world.now += 3599
    await world.store.sweep()
    assert KEY in world.names()
    world.now += 2
    await world.store.sweep()
    assert KEY not in world.names()


async def test_what_a_fetcher_works_on_stays(world: World) -> None:
    """Even if no volume names it: its pod may have a volume without keys."""
    await world.store.publish("csi-1", world.target("1"), OWNER, frozenset())
    world.fill(KEY)
    with (world.root / "namespaces" / UID / f".{KEY}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        await world.restarted(total=1).sweep()
        assert KEY in world.names()
    await world.store.sweep()
    assert KEY not in world.names()


async def test_other_files_stay_as_long_as_a_pod_may_use_them(world: World) -> None:
    await world.store.publish("csi-1", world.target("1"), OWNER, KEYS)
    world.fill("notes")
    await world.restarted(total=1).sweep()
    assert "notes" in world.names()
    await world.store.unpublish("csi-1", world.target("1"))
    await world.store.sweep()
    assert world.names() == set()


async def test_the_folder_of_a_namespace_that_is_gone_is_removed(world: World) -> None:
    await world.store.publish("csi-1", world.target("1"), OWNER, KEYS)
    world.fill(KEY)
    await world.store.sweep(frozenset({UID}))
    assert KEY in world.names(), "a pod still has it"
    await world.store.unpublish("csi-1", world.target("1"))
    await world.store.sweep(frozenset({UID}))
    assert not (world.root / "namespaces" / UID).exists()
    assert world.store.namespaces == {}


async def test_nothing_of_what_was_removed_is_left_on_the_disk(world: World) -> None:
    world.fill(KEY)
    await world.restarted(total=1).sweep()
    assert os.listdir(world.root / "trash") == []  # noqa: PTH208


async def test_what_has_the_name_of_a_lock_and_isnt_one_is_counted_and_removed(world: World) -> None:
    await world.store.publish("csi-1", world.target("1"), OWNER, KEYS)
    world.fill(KEY, size=1)
    world.fill(f".{OTHER_KEY}.lock")
    await world.restarted(namespace=1 << 15).sweep()
    with pytest.raises(RefusedError, match="namespaceSize"):
        await world.store.publish("csi-2", world.target("2"), OWNER, frozenset({OTHER_KEY}))
    await world.store.unpublish("csi-1", world.target("1"))
    await world.store.sweep()
    assert f".{OTHER_KEY}.lock" not in world.names()


async def test_a_namespace_with_more_names_than_are_listed_gets_no_volume(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "MOST_NAMES", 5)
    await world.store.publish("csi-1", world.target("1"), OWNER, KEYS)
    for number in range(20):
        (world.root / "namespaces" / UID / f".{number:016x}.lock").touch()
    await world.store.sweep()
    with pytest.raises(RefusedError, match="can be counted"):
        await world.store.publish("csi-2", world.target("2"), OWNER, frozenset({OTHER_KEY}))
    await world.store.unpublish("csi-1", world.target("1"))
    for _ in range(5):
        await world.store.sweep()
    assert world.names() == set()


async def test_a_file_with_names_in_many_models_takes_nothing_from_another_namespace(world: World) -> None:
    keys = [f"{number:016x}" for number in range(20)]
    store = world.restarted(total=1 << 19, namespace=1 << 18)
    await store.publish("csi-1", world.target("1"), OWNER, frozenset(keys))
    file = world.fill(KEY) / "weights"
    for key in keys:
        folder = world.root / "namespaces" / UID / key
        folder.mkdir()
        (folder / "weights").hardlink_to(file)
    world.fill(KEY, OTHER_UID)
    await store.sweep()
    assert KEY in world.names(OTHER_UID)
    await store.publish("csi-2", world.target("2"), OTHER, frozenset({OTHER_KEY}))


# --- calls for which the kubelet no longer waits ---------------------------------------------------------------------


class Slow:
    """In place of a function: it waits until it may go on, in its thread."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self.is_called, self.may_go_on = threading.Event(), threading.Event()

    def __call__(self, *args: Any) -> Any:
        self.is_called.set()
        assert self.may_go_on.wait(20)
        return self._function(*args)


async def cancelled_in(slow: Slow, call: Any) -> None:
    task = asyncio.create_task(call)
    assert await asyncio.to_thread(slow.is_called.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_sweep_that_nobody_waits_for_removes_what_was_discarded_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread must keep the folder that it has open: the next one that is opened would get its number."""
    slow = Slow(folders.empty)
    monkeypatch.setattr(folders, "empty", slow)
    (world.root / "trash" / "model").mkdir()
    await cancelled_in(slow, world.store.sweep())
    victim = world.fill(KEY, OTHER_UID)
    with folders.opened(str(victim.parent)):
        slow.may_go_on.set()
        await world.store.finish()
    assert victim.exists()
    assert os.listdir(world.root / "trash") == []  # noqa: PTH208


async def test_two_sweeps_never_run_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(folders.empty)
    monkeypatch.setattr(folders, "empty", slow)
    await cancelled_in(slow, world.store.sweep())
    slow.is_called.clear()
    second = asyncio.create_task(world.store.sweep())
    await asyncio.sleep(0.05)
    assert not slow.is_called.is_set()
    slow.may_go_on.set()
    await second


async def test_a_publish_that_nobody_waits_for_is_undone_by_the_unpublish_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(mounts.bind)
    monkeypatch.setattr(mounts, "bind", slow)
    await cancelled_in(slow, world.store.publish("csi-1", world.target("1"), OWNER, KEYS))
    unpublishing = asyncio.create_task(world.store.unpublish("csi-1", world.target("1")))
    await asyncio.sleep(0.05)
    assert not unpublishing.done()
    slow.may_go_on.set()
    await unpublishing
    assert not world.mounted.there
    assert not world.target("1").exists()


async def test_the_event_loop_goes_on_while_very_many_models_are_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(world.store._evictions)
    monkeypatch.setattr(world.store, "_evictions", slow)
    await cancelled_in(slow, world.store.sweep())
    slow.may_go_on.set()
    await world.store.finish()


# --- refusals --------------------------------------------------------------------------------------------------------


async def test_a_volume_is_refused_where_used_models_have_all_the_room(world: World) -> None:
    store = world.restarted(namespace=1 << 15)
    await store.publish("csi-1", world.target("1"), OWNER, KEYS)
    world.fill(KEY)
    await store.sweep()
    with pytest.raises(RefusedError, match="namespaceSize"):
        await store.publish("csi-2", world.target("2"), OWNER, frozenset({OTHER_KEY}))
    await store.publish("csi-3", world.target("3"), OTHER, frozenset({OTHER_KEY}))


async def test_a_model_that_is_there_needs_no_room(world: World) -> None:
    store = world.restarted(namespace=1 << 15)
    await store.publish("csi-1", world.target("1"), OWNER, KEYS)
    record = world.fill(KEY) / ".slipway/fetched.json"
    record.parent.mkdir()
    record.touch()
    await store.sweep()
    await store.publish("csi-2", world.target("2"), OWNER, KEYS)


# --- metrics ---------------------------------------------------------------------------------------------------------


async def test_what_is_there_is_reported_by_namespace(world: World) -> None:
    await world.store.publish("csi-1", world.target("1"), OWNER, KEYS)
    world.fill(KEY)
    await world.store.sweep()
    page = world.registry.page().decode()
    assert 'slipway_node_cache_models{cached_for="team-a",node="node-1"} 1.0' in page
    [line] = [line for line in page.splitlines() if line.startswith("slipway_node_cache_bytes{")]
    assert float(line.split()[-1]) >= 1 << 16
