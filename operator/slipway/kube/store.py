"""The last known objects of each kind, from watches. Reading it costs no call.

Watches have three gaps, and each is closed here:
- Events of two objects of one name, the old and the new, may come in any order: the newer resourceVersion wins, and an
  object is removed only by its own end. (Kubernetes promises that resourceVersions of a kind can be compared.)
- After a break, what ended meanwhile is never told: `compare` with a list of names finds these ghosts.
- Nothing tells that the first list is complete, or that a kind has no objects: `compare` does.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.api.names import OWNER_LABEL
from slipway.kube.kinds import Kind, Object

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Place = tuple[str, str]  # namespace ("" for the cluster's own) and name
Mark = int


@dataclass(frozen=True)
class Entry:
    thing: Object
    mark: Mark  # grows with each change of the store
    epoch: int  # of the watch that told it

    @property
    def uid(self) -> str:
        return str(self.thing["metadata"]["uid"])

    @property
    def version(self) -> str:
        return str(self.thing["metadata"]["resourceVersion"])


@dataclass
class Shelf:
    """All that is known of one kind."""

    entries: dict[Place, Entry] = field(default_factory=dict)
    by_label: dict[Place, set[Place]] = field(default_factory=lambda: defaultdict(set))
    synced: bool = False
    missing: bool = False  # the cluster doesn't have the kind
    current_at: float | None = None


@dataclass(frozen=True)
class Difference:
    """Between the store and a list of the API server."""

    ghosts: tuple[Object, ...]  # no longer there
    behind: Mapping[str, Mark]  # uids whose newest state no watch has told, and the entry's mark (0: there is none)


class Texts:
    """One copy of each text for all objects: half of their memory is names of fields and such.

    Not Python's own interning, which keeps texts for ever in some versions, and most texts come once.
    """

    MOST = 20_000

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def shared_in(self, value: Any) -> Any:
        """The same value."""
        if isinstance(value, str):
            return self._shared(value)
        if isinstance(value, dict):
            return {self._shared(name): self.shared_in(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self.shared_in(each) for each in value]
        return value

    def _shared(self, text: str) -> str:
        if len(self._known) >= self.MOST:
            self._known.clear()
        return self._known.setdefault(text, text)


class Store:
    def __init__(self, kinds: Iterable[Kind], *, hints: Collection[Kind] = ()) -> None:
        """`hints`: the kinds that nobody waits for, because they help and are not needed."""
        self._hints = frozenset(hints)
        self._shelves = {kind: Shelf(synced=kind in self._hints) for kind in kinds}
        self._texts = Texts()
        self._marks = itertools.count(1)
        self._mark: Mark = 0

    # --- reading ----------------------------------------------------------------------------------------------------

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        entry = self._shelves[kind].entries.get((namespace, name))
        return entry.thing if entry else None

    def all(self, kind: Kind) -> list[Object]:
        return [entry.thing for entry in self._shelves[kind].entries.values()]

    def labelled(self, kind: Kind, name: str, namespace: str) -> list[Object]:
        """Those that carry the owner label of the LLMDeployment, by name."""
        shelf = self._shelves[kind]
        return _at(shelf, shelf.by_label.get((namespace, name), ()))

    def is_missing(self, kind: Kind) -> bool:
        return self._shelves[kind].missing

    def is_synced(self, kind: Kind) -> bool:
        """What exists is known; a kind that the cluster doesn't have keeps nobody waiting."""
        shelf = self._shelves[kind]
        return shelf.synced or shelf.missing

    def unsynced(self) -> list[Kind]:
        return [kind for kind in self._shelves if not self.is_synced(kind)]

    def ages(self, now: float) -> dict[str, float]:
        """Seconds since each kind was last known to be up to date; kinds never seen so are left out."""
        shelves = self._shelves.items()
        return {kind.name: now - shelf.current_at for kind, shelf in shelves if shelf.current_at is not None}

    @property
    def mark(self) -> Mark:
        """Changes from now on get a greater one."""
        return self._mark

    # --- what watches tell ------------------------------------------------------------------------------------------

    def take(self, kind: Kind, type_: str | None, thing: Object, *, now: float, epoch: int = 0) -> bool:
        """An event as kopf gives it: None (listed), ADDED, MODIFIED or DELETED. False if it tells nothing new."""
        shelf, place = self._shelves[kind], place_of(thing)
        shelf.current_at, shelf.missing = now, False
        known = shelf.entries.get(place)
        if known and not _is_news(known, thing, type_, epoch):
            return False
        if type_ == "DELETED":
            return self._remove(shelf, place) is not None
        is_change = not known or known.version != _version(thing)
        self._put(shelf, place, thing, epoch)
        return is_change

    def forget_hints(self) -> None:
        """Nobody checks them, so what ended while no watch ran would stay for ever."""
        for kind in self._hints:
            self._shelves[kind] = Shelf(synced=True)

    def miss(self, kind: Kind) -> list[Object]:
        """The cluster doesn't have the kind (any more); what was there is returned."""
        shelf = self._shelves[kind]
        gone = [entry.thing for entry in shelf.entries.values()]
        self._shelves[kind] = Shelf(missing=True)
        return gone

    def found(self, kind: Kind) -> None:
        """The cluster has the kind now; its objects are not known yet."""
        self._shelves[kind].missing = False

    def compare(self, kind: Kind, listed: Collection[Object], *, since: Mark, now: float) -> Difference:
        """With a list that was asked for at the mark `since`; takes the ghosts out."""
        shelf = self._shelves[kind]
        versions = {thing["metadata"]["uid"]: thing["metadata"]["resourceVersion"] for thing in listed}
        known = {entry.uid: entry for entry in shelf.entries.values()}
        gone = [entry for uid, entry in known.items() if uid not in versions and entry.mark <= since]
        for entry in gone:
            self._remove(shelf, place_of(entry.thing))
        behind = {uid: _mark_if_behind(known.get(uid), version, since) for uid, version in versions.items()}
        difference = Difference(
            ghosts=tuple(entry.thing for entry in gone),
            behind={uid: mark for uid, mark in behind.items() if mark is not None},
        )
        shelf.missing = False
        shelf.synced = shelf.synced or versions.keys() <= known.keys()
        if not difference.behind:
            shelf.current_at = now
        return difference

    # --- inside -----------------------------------------------------------------------------------------------------

    def _put(self, shelf: Shelf, place: Place, thing: Object, epoch: int) -> None:
        self._remove(shelf, place)
        self._mark = next(self._marks)
        shelf.entries[place] = Entry(self._texts.shared_in(thing), self._mark, epoch)
        if owner := _owner(thing):
            shelf.by_label[owner].add(place)

    def _remove(self, shelf: Shelf, place: Place) -> Entry | None:
        entry = shelf.entries.pop(place, None)
        if entry:
            self._mark = next(self._marks)
            if owner := _owner(entry.thing):
                shelf.by_label[owner].discard(place)
                if not shelf.by_label[owner]:
                    del shelf.by_label[owner]
        return entry


def pruned(thing: Object) -> Object:
    """Without what nobody reads here and is often larger than the rest."""
    metadata: dict[str, Any] = {key: value for key, value in thing["metadata"].items() if key != "managedFields"}
    if LAST_APPLIED in metadata.get("annotations", {}):
        annotations = metadata["annotations"].items()
        metadata["annotations"] = {key: value for key, value in annotations if key != LAST_APPLIED}
    return {**thing, "metadata": metadata}


def place_of(thing: Object) -> Place:
    metadata = thing["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _at(shelf: Shelf, places: Iterable[Place]) -> list[Object]:
    return [shelf.entries[place].thing for place in sorted(places)]


def _owner(thing: Object) -> Place | None:
    """The LLMDeployment that the label names."""
    metadata = thing["metadata"]
    owner = metadata.get("labels", {}).get(OWNER_LABEL)
    return (metadata.get("namespace", ""), owner) if owner else None


def _is_news(known: Entry, thing: Object, type_: str | None, epoch: int) -> bool:
    if epoch > known.epoch:  # a watch begun anew has the say, even if the API server was set back to a backup
        return type_ != "DELETED" or known.uid == thing["metadata"]["uid"]
    if type_ == "DELETED" and known.uid == thing["metadata"]["uid"]:
        return True
    return int(_version(thing)) >= int(known.version)


def _version(thing: Object) -> str:
    return str(thing["metadata"]["resourceVersion"])


def _mark_if_behind(entry: Entry | None, listed_version: str, since: Mark) -> Mark | None:
    if entry is None:
        return 0
    return entry.mark if entry.version != listed_version and entry.mark <= since else None
