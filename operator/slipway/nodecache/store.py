"""The folders of one node: publishes them to pods, counts what is in them, and removes what no pod uses.

One thing at a time: publishing, unpublishing and each removal take the same lock, so that nothing is removed that a
volume has just named. A fetcher that works in a folder is kept out of it by its own lock (`folders`).

All work on the disk is done in threads, which open and close what they use themselves, and nothing cancels it: if the
kubelet no longer waits for a call, its thread goes on, and so must the lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from slipway.nodecache import folders, mounts
from slipway.nodecache.eviction import Disk, Entry, Evictions, Limits, Why, refusal, to_evict
from slipway.nodecache.layout import NAMESPACES, OTHER, STATE, TRASH, UID
from slipway.nodecache.metrics import NodeCacheMetrics
from slipway.nodecache.owners import Owner
from slipway.nodecache.state import Namespace, State, Volume

logger = logging.getLogger(__name__)

COUNTS_HOLD_FOR = 10.0  # seconds; then a volume isn't refused before everything is counted again
REBOOT_TAKES = 600.0  # seconds; until then, volumes that aren't mounted are of pods that may be about to start again
_P = ParamSpec("_P")
_R = TypeVar("_R")

Sizes = dict[tuple[str, str], folders.Counting]
"""By the uid of a namespace, and the key of a model."""


class RefusedError(Exception):
    """A volume that can't be published now; the message is a sentence for the pod's events."""


class NodeStore:
    """For the life of the process. `root`: the plugin's folder; `pods`: the kubelet's, in which volumes are."""

    def __init__(
        self,
        root: Path,
        pods: Path,
        limits: Limits,
        metrics: NodeCacheMetrics,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._root, self._pods, self._limits, self._metrics, self._now = root, pods, limits, metrics, now
        self._busy = asyncio.Lock()
        self._sweep: asyncio.Task[None] | None = None
        self._state = State()
        self._entries: list[Entry] = []
        self._counted_at = -COUNTS_HOLD_FOR
        self._opened_at = now()

    def open(self) -> None:
        """Makes the folders, and reads what was stored."""
        for folder in (self._root, self._root / NAMESPACES, self._root / TRASH):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        try:
            self._state = State.from_json((self._root / STATE).read_text())
        except FileNotFoundError:
            pass
        except ValueError as error:
            logger.warning("What was stored in %s can't be used: %s", self._root / STATE, error)
        self._mounted()
        self._store()

    async def finish(self) -> None:
        """Waits until nothing works on the disk any more. Nothing else may be called afterwards."""
        if self._sweep:
            await asyncio.wait([self._sweep])
        await self._busy.acquire()

    @property
    def namespaces(self) -> Mapping[str, str]:
        """Of those that have a folder here, the name of each uid; empty if it isn't known."""
        known = self._state.namespaces
        return {uid: known[uid].name if uid in known else "" for uid in self._uids()}

    def _uids(self) -> list[str]:
        return [path.name for path in (self._root / NAMESPACES).iterdir()]

    # --- volumes ----------------------------------------------------------------------------------------------------

    async def publish(self, volume_id: str, target: Path, owner: Owner, keys: frozenset[str]) -> None:
        """Calling it again changes nothing. RefusedError, or OSError."""
        self._check(target)
        if (why := self._refusal(owner, keys)) and time.monotonic() >= self._counted_at + COUNTS_HOLD_FOR:
            running = self._sweep
            await (self.sweep() if running is None or running.done() else asyncio.shield(running))
            why = self._refusal(owner, keys)
        if why:
            raise RefusedError(why)
        await self._alone(self._publish, volume_id, Volume(owner.uid, keys, str(target)), owner.namespace)

    async def unpublish(self, volume_id: str, target: Path) -> None:
        """Calling it again changes nothing. RefusedError, or OSError."""
        self._check(target)
        await self._alone(self._unpublish, volume_id, target)

    async def _alone(self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """In a thread. If its caller is cancelled, others wait until the thread has ended all the same."""
        await self._busy.acquire()
        done = asyncio.get_running_loop().run_in_executor(None, partial(work, *args, **kwargs))
        done.add_done_callback(lambda _: self._busy.release())
        return await asyncio.shield(done)

    def _check(self, target: Path) -> None:
        if ".." in target.parts or not target.is_relative_to(self._pods):
            raise RefusedError(
                f"the kubelet wants the volume at {target}, which is not in {self._pods}: set "
                "modelCache.node.kubeletFolder"
            )

    def _refusal(self, owner: Owner, keys: frozenset[str]) -> str | None:
        """None as well if all models are there: they need no further room."""
        with contextlib.suppress(OSError), folders.opened(str(self._folder(owner.uid))) as folder:
            if keys and all(folders.has_record(folder, key) for key in keys):
                return None
        return refusal(self._entries, owner.uid, self._limits, self._disk())

    def _publish(self, volume_id: str, volume: Volume, namespace: str) -> None:
        folder, target = self._folder(volume.namespace), Path(volume.target)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)  # fetchers are any user, and who may write in a namespace is its own affair
        self._state.publish(volume_id, volume, namespace, self._now())
        self._store()
        if target in self._mounted():
            return
        try:
            target.mkdir(mode=0o750, parents=True, exist_ok=True)
            with folders.opened(str(folder)) as descriptor:
                mounts.bind(descriptor, target)
        except OSError:
            self._state.unpublish(volume_id, self._now())
            self._store()
            raise

    def _unpublish(self, volume_id: str, target: Path) -> None:
        if target in self._mounted():
            mounts.unmount(target)
        with contextlib.suppress(FileNotFoundError):
            target.rmdir()
        self._state.unpublish(volume_id, self._now())
        self._store()

    def _folder(self, uid: str) -> Path:
        return self._root / NAMESPACES / uid

    def _mounted(self) -> Mapping[Path, str]:
        """Where a namespace's folder is mounted, and the uid of that namespace; notes those that are not known.

        A tenant can make the kubelet mount what it likes, but not this folder, and not where volumes of CSI are.
        """
        there = mounts.mounted()
        device, folder = mounts.where((self._root / NAMESPACES).resolve(), there)
        found = {
            each.target: uid
            for each in there
            if each.device == device and each.root == f"{folder}/{(uid := each.root.rpartition('/')[2])}"
            if UID.fullmatch(uid) and self._is_of_a_volume(each.target)
        }
        known = {Path(volume.target) for volume in self._state.volumes.values()}
        self._state.unknown = frozenset(uid for target, uid in found.items() if target not in known)
        return found

    def _is_of_a_volume(self, target: Path) -> bool:
        if not target.is_relative_to(self._pods):
            return False
        match target.relative_to(self._pods).parts:
            case (_, "volumes", "kubernetes.io~csi", _, "mount"):
                return True
            case _:
                return False

    def _store(self) -> None:
        new = self._root / f"{STATE}.new"
        with new.open("w") as file:
            file.write(self._state.to_json())
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._root / STATE)

    def _disk(self) -> Disk:
        found = os.statvfs(self._root)
        return Disk(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)

    # --- counting and removing --------------------------------------------------------------------------------------

    async def sweep(self, gone: AbstractSet[str] = frozenset()) -> None:
        """Counts everything, and removes what must go. `gone`: uids of namespaces that no longer exist."""
        while self._sweep and not self._sweep.done():
            await asyncio.wait([self._sweep])
        self._sweep = asyncio.create_task(self._swept(gone))
        await asyncio.shield(self._sweep)

    async def _swept(self, gone: AbstractSet[str]) -> None:
        if self._now() >= self._opened_at + REBOOT_TAKES:
            await self._alone(self._forget_unmounted)
        sizes = await asyncio.to_thread(self._sizes)
        self._entries = await self._alone(self._with_uses, sizes)
        removed = set[Entry]()
        names = self.namespaces
        for entry, why in await asyncio.to_thread(self._evictions, gone):
            if await self._alone(self._discard, entry):
                removed.add(entry)
                self._metrics.evictions.labels(why).inc()
                name = names.get(entry.namespace) or entry.namespace
                logger.info("Removed %s of namespace %s (%s)", entry.key or "other files", name, why)
        self._entries = [entry for entry in self._entries if entry not in removed]
        await self._alone(self._tidy)
        await asyncio.to_thread(self._empty_trash)
        self._counted_at = time.monotonic()
        self._metrics.show(self._entries, self.namespaces, self._disk())

    def _forget_unmounted(self) -> None:
        """After a reboot nothing is mounted, and the kubelet knows nothing of pods that were deleted meanwhile."""
        there = self._mounted()
        for volume_id, volume in list(self._state.volumes.items()):
            if Path(volume.target) not in there:
                self._state.unpublish(volume_id, self._now())

    def _sizes(self) -> Sizes:
        sizes: Sizes = {}
        for uid in self.namespaces:
            with contextlib.suppress(OSError), folders.opened(str(self._folder(uid))) as folder:
                sizes |= {(uid, key): found for key, found in folders.counted_by_key(folder).items()}
        return sizes

    def _with_uses(self, sizes: Sizes) -> list[Entry]:
        """What was never published counts as used when it was first seen."""
        for uid, key in sizes:
            self._state.namespaces.setdefault(uid, Namespace("")).used_at.setdefault(key, self._now())
        return [
            Entry(
                uid,
                key,
                found.bytes,
                self._state.namespaces[uid].used_at[key],
                self._state.is_used(uid, key),
                found.is_complete,
            )
            for (uid, key), found in sizes.items()
        ]

    def _evictions(self, gone: AbstractSet[str]) -> Evictions:
        of_gone: Evictions = [(entry, Why.GONE) for entry in self._entries if entry.namespace in gone]
        others = [entry for entry in self._entries if entry.namespace not in gone]
        return of_gone + to_evict(others, self._limits, self._disk(), self._now())

    def _discard(self, entry: Entry) -> bool:
        """False if it is used by now, or a fetcher works on it."""
        if self._state.is_used(entry.namespace, entry.key):
            return False
        with (
            folders.opened(str(self._folder(entry.namespace))) as folder,
            folders.opened(str(self._root / TRASH)) as trash,
        ):
            if entry.is_model:
                return folders.discard_model(folder, entry.key, trash)
            folders.discard(folder, folders.listed(folder).by_key.get(OTHER, []), trash)
        return True

    def _tidy(self) -> None:
        """Removes folders in which nothing but locks is left, and what is known of models that are gone."""
        self._mounted()
        for uid in self.namespaces:
            if not self._state.has_volumes(uid):
                self._tidy_unused(uid)
        there = {(entry.namespace, entry.key) for entry in self._entries}
        for uid, namespace in self._state.namespaces.items():
            self._state.forget(uid, {key for key in namespace.used_at if (uid, key) not in there})
        self._store()

    def _empty_trash(self) -> None:
        with folders.opened(str(self._root / TRASH)) as trash:
            folders.empty(trash)

    def _tidy_unused(self, uid: str) -> None:
        """No pod has a volume of it, so that no process can have a lock."""
        with folders.opened(str(self._folder(uid))) as folder, folders.opened(str(self._root / TRASH)) as trash:
            if (found := folders.listed(folder)).by_key:
                return
            folders.discard(folder, found.locks, trash)
        with contextlib.suppress(OSError):
            self._folder(uid).rmdir()
            self._state.namespaces.pop(uid, None)
