"""Our own writes in front of the store, until the watches have reported them.

A watch lags behind the API server's answer to a write. Without the overlay, a reconcile in between would decide from
the state before our own write, and write again. Each answer stays here until the cache is as new; after a delete, a
tombstone hides the object until the cache has caught up.

Objects are looked up by name. `labelled` replaces and hides objects that the cache has; one that we have just created
joins the result once its watch reports it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from slipway.kube.store import Store, pruned
from slipway.objects.kinds import Kind, Object, ObjectKey
from slipway.objects.metadata import name_of, namespace_of, resource_version_of, uid_of


@dataclass(frozen=True, slots=True)
class OwnWrite:
    """One write that no watch has reported yet."""

    uid: str
    version: int  # after the write; of a delete, before it
    shown: Object | None  # what readers get until then; None: the object is gone (a tombstone)
    is_delete: bool = False

    def is_reported_by(self, cached: Object) -> bool:
        """Whether the cache is as new as this write."""
        if self.is_delete:
            return uid_of(cached) != self.uid or resource_version_of(cached) > self.version
        return resource_version_of(cached) >= self.version


class Overlay:
    """Reads like the store. `keep`: what of the API server's answers is stored."""

    def __init__(self, store: Store, *, keep: Callable[[Object], Object] = pruned) -> None:
        self._store, self._keep = store, keep
        self._writes: dict[ObjectKey, OwnWrite] = {}

    def __len__(self) -> int:
        return len(self._writes)

    # --- reading ----------------------------------------------------------------------------------------------------

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        return self._newest(ObjectKey(kind, namespace, name), self._store.get(kind, name, namespace))

    def labelled(self, kind: Kind, name: str, namespace: str, *, most: int | None = None) -> list[Object]:
        cached = self._store.labelled(kind, name, namespace, most=most)
        if not self._writes:
            return cached
        newest = (self._newest(ObjectKey(kind, namespace, name_of(each)), each) for each in cached)
        return [each for each in newest if each is not None]

    # --- writing ----------------------------------------------------------------------------------------------------

    def wrote(self, kind: Kind, answer: Object) -> None:
        """The API server's answer to a write. A watch may have reported it before."""
        key = ObjectKey(kind, namespace_of(answer), name_of(answer))
        write = OwnWrite(uid_of(answer), resource_version_of(answer), self._keep(answer))
        cached = self._store.get(kind, key.name, key.namespace)
        if cached is not None and write.is_reported_by(cached):
            self._writes.pop(key, None)
        else:
            self._writes[key] = write

    def deleted(self, kind: Kind, found: Object) -> None:
        """The API server has accepted to delete the object as it was found.

        With finalizers, it stays for now, and is shown as being deleted.
        """
        key = ObjectKey(kind, namespace_of(found), name_of(found))
        has_finalizers = bool(found["metadata"].get("finalizers"))
        going = {**found, "metadata": {**found["metadata"], "deletionTimestamp": ""}} if has_finalizers else None
        self._writes[key] = OwnWrite(uid_of(found), resource_version_of(found), going, is_delete=True)

    # --- forgetting -------------------------------------------------------------------------------------------------

    def watch_reported(self, kind: Kind, reported: Object) -> None:
        """A watch has reported this state of an object, or its end, and the store has it."""
        key = ObjectKey(kind, namespace_of(reported), name_of(reported))
        write = self._writes.get(key)
        if write and write.uid == uid_of(reported):
            cached = self._store.get(kind, key.name, key.namespace)
            if write.is_reported_by(reported) or (write.is_delete and cached is None):
                del self._writes[key]

    def forget(self, key: ObjectKey) -> None:
        self._writes.pop(key, None)

    def forget_named(self, namespace: str, is_named: Callable[[str], bool]) -> None:
        """Of all kinds. There are few writes at a time that no watch has reported."""
        for key in [each for each in self._writes if each.namespace == namespace and is_named(each.name)]:
            del self._writes[key]

    def clear(self) -> None:
        """Another leader may have written since."""
        self._writes.clear()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _newest(self, key: ObjectKey, cached: Object | None) -> Object | None:
        write = self._writes.get(key)
        if write is None:
            return cached
        if write.is_reported_by(cached) if cached is not None else write.is_delete:
            del self._writes[key]
            return cached
        return write.shown
