"""The cache: the last known objects of each kind, from watches. Reading it costs no call.

Watches have three gaps, and each is closed here:
- Events of two objects of one name, the old and the new, may arrive in any order: the newer resourceVersion wins, and
  an object is removed only by its own deletion. (Kubernetes promises that resourceVersions of a kind can be compared.)
- After a break, the objects that were deleted meanwhile are never reported: `compare` with a list of names finds these
  ghosts.
- No event says that the first list is complete, or that a kind has no objects: `compare` does.

Of ten thousand models, each with ten objects around it, few are read in any minute. Kinds that are `packed` are
stored as compressed text, a fifth of what dicts take, and parsed when they are read; those that were read last stay
parsed. Where one model may have very many objects of a kind, a *brief* of each holds what must be known of all.
"""

from __future__ import annotations

import heapq
import itertools
import json
import logging
import zlib
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from slipway.objects.kinds import Kind, Object

logger = logging.getLogger(__name__)

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
OF_FIELDS = ("manager", "operation", "subresource", "fieldsV1")
ALWAYS = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")
OF_OWNERS, LONGEST_NAME = ("apiVersion", "kind", "name", "uid"), 253

Place = tuple[str, str]  # namespace ("" for cluster-scoped objects) and name
Mark = int
MakeBrief = Callable[[Object], Any]


@dataclass(frozen=True, slots=True)
class Entry:
    kept: Object | bytes  # bytes: packed
    uid: str
    version: str
    mark: Mark  # grows with each change of the store
    epoch: int  # of the watch that reported it
    owner: Place | None = None
    brief: Any = None  # None: no briefs of its kind are kept, or none can be made of it


@dataclass
class Shelf:
    """All that is known of one kind. `by_label`: the names of the objects with each value of an indexed label, in
    order."""

    entries: dict[Place, Entry] = field(default_factory=dict)
    by_label: dict[Place, list[str]] = field(default_factory=dict)
    synced: bool = False
    missing: bool = False  # the cluster doesn't have the kind
    closed: bool = False  # it can't be seen, and nothing waits for it
    current_at: float | None = None


@dataclass(frozen=True)
class Difference:
    """Between the store and a list by the API server."""

    ghosts: tuple[Object, ...]  # no longer there
    behind: Mapping[str, Mark]
    """By uid, the objects whose newest state no watch has reported, with the mark of the entry (0: there is none)."""


class Texts:
    """One copy of each string for all objects: half of their memory is names of fields and the like.

    Not Python's own interning, which keeps strings forever in some versions, and most strings occur once.
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


class Packing:
    """Objects as compressed text, and those that were read last as dicts."""

    MOST_READ = 256  # more than all workers use at the same time

    def __init__(self) -> None:
        self._read: dict[Mark, Object] = {}  # in the order in which they were read

    @staticmethod
    def pack(thing: Object) -> bytes:
        text = json.dumps(thing, separators=(",", ":"), ensure_ascii=False)
        return zlib.compress(text.encode(errors="surrogatepass"), level=1)

    def unpacked(self, entry: Entry) -> Object:
        if not isinstance(entry.kept, bytes):
            return entry.kept
        if (known := self._read.get(entry.mark)) is not None:
            return known
        if len(self._read) >= self.MOST_READ:
            del self._read[next(iter(self._read))]
        thing: Object = json.loads(zlib.decompress(entry.kept).decode(errors="surrogatepass"))
        self._read[entry.mark] = thing
        return thing


class Store:
    def __init__(
        self,
        kinds: Iterable[Kind],
        *,
        hints: Collection[Kind] = (),
        may_be_closed: Collection[Kind] = (),
        packed: Collection[Kind] = (),
        index_by: Sequence[str] = (),
        on_synced: Callable[[], object] = lambda: None,
    ) -> None:
        """`hints`: the kinds that help and are not needed, so that nothing waits for them; `may_be_closed`: those for
        which nothing waits while we may see none of their objects. `index_by`: labels by whose
        values `labelled` finds objects; of an object that has several of them, the first one counts. `on_synced` is
        called when the first list of a kind may have become complete."""
        self._hints, self._packed, self._index_by = frozenset(hints), frozenset(packed), tuple(index_by)
        self._shelves = {kind: Shelf(synced=kind in self._hints) for kind in kinds}
        self._on_synced, self.may_be_closed = on_synced, frozenset(may_be_closed)
        self._texts, self._packing = Texts(), Packing()
        self._owners: dict[Place, Place] = {}
        self._make_brief: dict[Kind, MakeBrief] = {}
        self._marks = itertools.count(1)
        self._mark: Mark = 0

    # --- reading ----------------------------------------------------------------------------------------------------

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        entry = self._shelves[kind].entries.get((namespace, name))
        return self._packing.unpacked(entry) if entry else None

    def has(self, kind: Kind, name: str, namespace: str = "") -> bool:
        return (namespace, name) in self._shelves[kind].entries

    def all(self, kind: Kind) -> list[Object]:
        return [self._packing.unpacked(entry) for entry in self._shelves[kind].entries.values()]

    def places(self, kind: Kind) -> Iterator[Place]:
        """Of all objects, in no order."""
        return iter(self._shelves[kind].entries)

    def labelled(
        self,
        kind: Kind,
        name: str,
        namespace: str,
        *,
        most: int | None = None,
        where: Callable[[Any], bool] = lambda _: True,
    ) -> list[Object]:
        """Those of the namespace that have this name as the value of an indexed label. By name.

        If there are more than `most`, those with the greatest briefs. `where`: what is true of their briefs.
        """
        entries = [entry for entry in self._labelled(kind, name, namespace) if where(entry.brief)]
        if most is not None and len(entries) > most:
            entries = heapq.nlargest(most, entries, key=lambda entry: entry.brief or ())
        return [self._packing.unpacked(entry) for entry in entries]

    def briefs(self, kind: Kind, name: str, namespace: str) -> list[Any]:
        """Of the objects that `labelled` would return, without reading them. By name."""
        return [entry.brief for entry in self._labelled(kind, name, namespace)]

    def uids(self, kind: Kind, name: str, namespace: str) -> set[str]:
        """The same of their uids."""
        return {entry.uid for entry in self._labelled(kind, name, namespace)}

    def brief(self, kind: Kind, name: str, namespace: str = "") -> Any:
        """Of one object; None: it doesn't exist, or none could be made of it."""
        entry = self._shelves[kind].entries.get((namespace, name))
        return entry.brief if entry else None

    def keep_briefs(self, kind: Kind, make: MakeBrief) -> None:
        """Makes them of all objects, now and as they arrive."""
        self._make_brief[kind] = make
        shelf = self._shelves[kind]
        for place, entry in shelf.entries.items():
            shelf.entries[place] = replace(entry, brief=self._brief(kind, self._packing.unpacked(entry)))

    def is_missing(self, kind: Kind) -> bool:
        return self._shelves[kind].missing

    def is_closed(self, kind: Kind) -> bool:
        """Its objects can't be seen."""
        return self._shelves[kind].closed

    def is_synced(self, kind: Kind) -> bool:
        """All objects that exist are known; so it is for a kind that the cluster doesn't have."""
        shelf = self._shelves[kind]
        return shelf.synced or shelf.missing or shelf.closed

    def unsynced(self) -> list[Kind]:
        """Empty: the cache is filled. A kind that is installed later is in it until its first list is complete."""
        return [kind for kind in self._shelves if not self.is_synced(kind)]

    def ages(self, now: float) -> dict[str, float]:
        """Seconds since each kind was last known to be up to date. Left out are kinds never seen so, and those that are
        compared with no list: hints, and what can't be seen. Of these, a time without events says nothing."""
        compared = ((kind, each) for kind, each in self._shelves.items() if kind not in self._hints and not each.closed)
        return {kind.name: now - shelf.current_at for kind, shelf in compared if shelf.current_at is not None}

    @property
    def mark(self) -> Mark:
        """Changes from now on get a greater one."""
        return self._mark

    # --- events of watches ------------------------------------------------------------------------------------------

    def take(self, kind: Kind, type_: str | None, thing: Object, *, now: float, epoch: int = 0) -> bool:
        """An event with kopf's types: None (listed), ADDED, MODIFIED or DELETED. False if it changes nothing."""
        shelf, place = self._shelves[kind], place_of(thing)
        shelf.current_at, shelf.missing = now, False
        known = shelf.entries.get(place)
        if known and not _is_news(known, thing, type_, epoch):
            return False
        if type_ == "DELETED":
            return self._remove(shelf, place) is not None
        is_change = not known or known.version != _version(thing)
        self._put(kind, place, thing, epoch)
        return is_change

    def forget_hints(self) -> None:
        """They are not audited, so an object that was deleted while no watch ran would stay forever."""
        for kind in self._hints:
            self._shelves[kind] = Shelf(synced=True)

    def miss(self, kind: Kind) -> list[Object]:
        """The cluster doesn't have the kind (any more). Returns the objects that were stored."""
        shelf = self._shelves[kind]
        gone = [self._packing.unpacked(entry) for entry in shelf.entries.values()]
        self._shelves[kind] = Shelf(missing=True)
        self._on_synced()
        return gone

    def close(self, kind: Kind) -> None:
        """Its objects can't be seen. If it can be done without, nothing waits until a list can be compared again."""
        if kind in self.may_be_closed:
            self._shelves[kind].closed = True
            self._on_synced()

    def found(self, kind: Kind) -> None:
        """The cluster has the kind now; its objects are not known yet."""
        self._shelves[kind].missing = False

    def compare(
        self, kind: Kind, listed: Collection[Object], *, since: Mark, now: float, unseen: Collection[str] = ()
    ) -> Difference:
        """With a list that was requested at the mark `since`; removes the ghosts.

        `unseen`: namespaces that are not in the list.
        """
        shelf = self._shelves[kind]
        versions = {thing["metadata"]["uid"]: thing["metadata"]["resourceVersion"] for thing in listed}
        known = {entry.uid: entry for place, entry in shelf.entries.items() if place[0] not in unseen}
        ended = [entry for uid, entry in known.items() if uid not in versions and entry.mark <= since]
        gone = [self._packing.unpacked(entry) for entry in ended]
        for thing in gone:
            self._remove(shelf, place_of(thing))
        behind = {uid: _mark_if_behind(known.get(uid), version, since) for uid, version in versions.items()}
        difference = Difference(
            ghosts=tuple(gone),
            behind={uid: mark for uid, mark in behind.items() if mark is not None},
        )
        shelf.missing = shelf.closed = False
        shelf.synced = shelf.synced or versions.keys() <= known.keys()
        self._on_synced()
        if not difference.behind:
            shelf.current_at = now
        return difference

    # --- inside -----------------------------------------------------------------------------------------------------

    def _labelled(self, kind: Kind, name: str, namespace: str) -> Iterator[Entry]:
        shelf = self._shelves[kind]
        return (shelf.entries[namespace, each] for each in shelf.by_label.get((namespace, name), ()))

    def _put(self, kind: Kind, place: Place, thing: Object, epoch: int) -> None:
        shelf = self._shelves[kind]
        self._remove(shelf, place)
        self._mark = next(self._marks)
        kept = self._packing.pack(thing) if kind in self._packed else self._texts.shared_in(thing)
        uid = self._texts.shared_in(str(thing["metadata"]["uid"]))
        if owner := self._owner(thing):
            owner = self._owners.setdefault(owner, owner)  # one for all kinds
            if owner in shelf.by_label:
                insort(shelf.by_label[owner], place[1])
            else:
                shelf.by_label[owner] = [place[1]]
        shelf.entries[place] = Entry(kept, uid, _version(thing), self._mark, epoch, owner, self._brief(kind, thing))

    def _remove(self, shelf: Shelf, place: Place) -> Entry | None:
        entry = shelf.entries.pop(place, None)
        if entry:
            self._mark = next(self._marks)
            if entry.owner:
                names = shelf.by_label[entry.owner]
                del names[bisect_left(names, place[1])]
                if not names:
                    del shelf.by_label[entry.owner]
                    self._forget_owner(entry.owner)
        return entry

    def _brief(self, kind: Kind, thing: Object) -> Any:
        """Whatever a tenant has written into one object, the watch continues."""
        if not (make := self._make_brief.get(kind)):
            return None
        try:
            return make(thing)
        except Exception as error:
            logger.warning("No brief can be made of %s %s: %r", kind, "/".join(place_of(thing)), error)
            return None

    def _owner(self, thing: Object) -> Place | None:
        """What the first of its indexed labels names, in its namespace."""
        metadata = thing["metadata"]
        labels = metadata.get("labels") or {}
        owner = next((labels[name] for name in self._index_by if labels.get(name)), None)
        return (metadata.get("namespace", ""), owner) if owner else None

    def _forget_owner(self, owner: Place) -> None:
        if not any(owner in shelf.by_label for shelf in self._shelves.values()):
            self._owners.pop(owner, None)


def pruned(thing: Object, *, fields_of: str = "") -> Object:
    """Without the fields that are never read here and are often larger than the rest.

    `fields_of`: the field manager for which the entry of managedFields is kept.
    """
    metadata: dict[str, Any] = {key: value for key, value in thing["metadata"].items() if key != "managedFields"}
    if fields_of and "managedFields" in thing["metadata"]:
        entries = thing["metadata"]["managedFields"]
        metadata["managedFields"] = [_fields(each) for each in entries if each.get("manager") == fields_of]
    if LAST_APPLIED in metadata.get("annotations", {}):
        annotations = metadata["annotations"].items()
        metadata["annotations"] = {key: value for key, value in annotations if key != LAST_APPLIED}
    return {**thing, "metadata": metadata}


def _fields(entry: Object) -> Object:
    return {name: entry[name] for name in OF_FIELDS if name in entry}


def bare(thing: Object, labels: Iterable[str] = ()) -> Object:
    """What is stored of an object that is too large or can't be read: that it exists, and its apparent owner.

    `labels`: those that it keeps.
    """
    metadata = thing["metadata"]
    present = metadata.get("labels") or {}
    kept: Object = {name: metadata[name] for name in ALWAYS if name in metadata}
    kept["labels"] = {name: present[name] for name in (*labels, MANAGED_BY_LABEL) if name in present}
    if controller := next((each for each in metadata.get("ownerReferences") or [] if each.get("controller")), None):
        owner = {name: str(controller.get(name, ""))[:LONGEST_NAME] for name in OF_OWNERS}
        kept["ownerReferences"] = [{**owner, "controller": True}]
    return {**{name: thing[name] for name in ("apiVersion", "kind") if name in thing}, "metadata": kept}


def size_of(thing: Object) -> int:
    """Characters, written down."""
    return len(json.dumps(thing, separators=(",", ":"), ensure_ascii=False))


def place_of(thing: Object) -> Place:
    metadata = thing["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _is_news(known: Entry, thing: Object, type_: str | None, epoch: int) -> bool:
    if epoch > known.epoch:  # a restarted watch is right, even if the API server was restored from a backup
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
