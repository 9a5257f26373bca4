"""The folders of a node, with mounts that are only written down: who gets which, and what is left of it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
from slipway.nodecache import mounts
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
    """Where which folder is mounted."""

    def __init__(self) -> None:
        self.there: dict[Path, str] = {}

    def bind(self, folder: int, target: Path) -> None:
        self.there[target] = str(Path(f"/proc/self/fd/{folder}").readlink())

    def unmount(self, target: Path) -> None:
        del self.there[target]


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> Mounts:
    made = Mounts()
    monkeypatch.setattr(mounts, "bind", made.bind)
    monkeypatch.setattr(mounts, "unmount", made.unmount)
    monkeypatch.setattr(mounts, "mounted", lambda: dict(made.there))
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


async def test_after_a_reboot_nothing_is_in_use(world: World) -> None:
    await world.store.publish("csi-1", world.target("1"), OWNER, KEYS)
    world.fill(KEY)
    world.mounted.there.clear()
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
