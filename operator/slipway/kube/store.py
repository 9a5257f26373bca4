"""The last known objects of each kind, from watches. Reading it costs no call.

Watches have three gaps, and each is closed here:
- Events of two objects of one name, the old and the new, may come in any order: the newer resourceVersion wins, and an
  object is removed only by its own end. (Kubernetes promises that resourceVersions of a kind can be compared.)
- After a break, what ended meanwhile is never told: `compare` with a list of names finds these ghosts.
- Nothing tells that the first list is complete, or that a kind has no objects: `compare` does.

Of ten thousand deployments, each with ten objects around it, few are looked at in a moment. Kinds that are `packed` are
kept as text, a fifth of what dicts take, and read when they are asked for; those that were read last stay read. Where
one deployment may have very many objects of a kind, a *brief* of each tells what is to be known of all of them.
"""

from __future__ import annotations

import heapq
import itertools
import json
import logging
import zlib
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from slipway.api.asked import writes
from slipway.api.names import FIELD_MANAGER, MANAGED_BY_LABEL, OWNER_LABEL, SERVICE_LABEL
from slipway.objects.kinds import INFERENCE_SERVICE, LLM_DEPLOYMENT, Kind, Object

logger = logging.getLogger(__name__)

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
FIELDS_ARE_READ = frozenset({INFERENCE_SERVICE.name})
"""Kinds of which it is asked what we have set."""
OF_FIELDS = ("manager", "operation", "subresource", "fieldsV1")
ALWAYS = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")
OF_OWNERS, LONGEST_NAME = ("apiVersion", "kind", "name", "uid"), 253
FOUND_BY = (OWNER_LABEL, SERVICE_LABEL, MANAGED_BY_LABEL)

Place = tuple[str, str]  # namespace ("" for the cluster's own) and name
Mark = int
MakeBrief = Callable[[Object], Any]


@dataclass(frozen=True, slots=True)
class Entry:
    kept: Object | bytes  # bytes: packed
    uid: str
    version: str
    mark: Mark  # grows with each change of the store
    epoch: int  # of the watch that told it
    owner: Place | None = None
    brief: Any = None  # None: nobody wants one, or none can be made of it


@dataclass
class Shelf:
    """All that is known of one kind. `by_label`: the names of those that belong to an LLMDeployment or a Service, in
    order."""

    entries: dict[Place, Entry] = field(default_factory=dict)
    by_label: dict[Place, list[str]] = field(default_factory=dict)
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


class Packing:
    """Objects as text made small, and those that were read last as they were read."""

    MOST_READ = 256  # more than all workers have in their hands

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
    def __init__(self, kinds: Iterable[Kind], *, hints: Collection[Kind] = (), packed: Collection[Kind] = ()) -> None:
        """`hints`: the kinds that nobody waits for, because they help and are not needed."""
        self._hints, self._packed = frozenset(hints), frozenset(packed)
        self._shelves = {kind: Shelf(synced=kind in self._hints) for kind in kinds}
        self._texts, self._packing = Texts(), Packing()
        self._owners: dict[Place, Place] = {}
        self._make_brief: dict[Kind, MakeBrief] = {}
        self._marks = itertools.count(1)
        self._mark: Mark = 0

    # --- reading ----------------------------------------------------------------------------------------------------

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        entry = self._shelves[kind].entries.get((namespace, name))
        return self._packing.unpacked(entry) if entry else None

    def all(self, kind: Kind) -> list[Object]:
        return [self._packing.unpacked(entry) for entry in self._shelves[kind].entries.values()]

    def places(self, kind: Kind) -> Iterator[Place]:
        """Which there are, in no order."""
        return iter(self._shelves[kind].entries)

    def labelled(self, kind: Kind, name: str, namespace: str, *, most: int | None = None) -> list[Object]:
        """Those that carry the owner label of the LLMDeployment; EndpointSlices those of the Service, too. By name.

        If there are more than `most`, those with the greatest briefs.
        """
        shelf = self._shelves[kind]
        entries = [shelf.entries[namespace, each] for each in shelf.by_label.get((namespace, name), ())]
        if most is not None and len(entries) > most:
            entries = heapq.nlargest(most, entries, key=lambda entry: entry.brief or ())
        return [self._packing.unpacked(entry) for entry in entries]

    def briefs(self, kind: Kind, name: str, namespace: str) -> list[Any]:
        """Of the same, by name. None of them is read for it."""
        shelf = self._shelves[kind]
        return [shelf.entries[namespace, each].brief for each in shelf.by_label.get((namespace, name), ())]

    def keep_briefs(self, kind: Kind, make: MakeBrief) -> None:
        """From now on of each object, as it comes."""
        self._make_brief[kind] = make
        shelf = self._shelves[kind]
        for place, entry in shelf.entries.items():
            shelf.entries[place] = replace(entry, brief=self._brief(kind, self._packing.unpacked(entry)))

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
        self._put(kind, place, thing, epoch)
        return is_change

    def forget_hints(self) -> None:
        """Nobody checks them, so what ended while no watch ran would stay for ever."""
        for kind in self._hints:
            self._shelves[kind] = Shelf(synced=True)

    def miss(self, kind: Kind) -> list[Object]:
        """The cluster doesn't have the kind (any more); what was there is returned."""
        shelf = self._shelves[kind]
        gone = [self._packing.unpacked(entry) for entry in shelf.entries.values()]
        self._shelves[kind] = Shelf(missing=True)
        return gone

    def found(self, kind: Kind) -> None:
        """The cluster has the kind now; its objects are not known yet."""
        self._shelves[kind].missing = False

    def compare(
        self, kind: Kind, listed: Collection[Object], *, since: Mark, now: float, unseen: Collection[str] = ()
    ) -> Difference:
        """With a list that was asked for at the mark `since`; takes the ghosts out.

        `unseen`: namespaces of which it says nothing.
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
        shelf.missing = False
        shelf.synced = shelf.synced or versions.keys() <= known.keys()
        if not difference.behind:
            shelf.current_at = now
        return difference

    # --- inside -----------------------------------------------------------------------------------------------------

    def _put(self, kind: Kind, place: Place, thing: Object, epoch: int) -> None:
        shelf = self._shelves[kind]
        self._remove(shelf, place)
        self._mark = next(self._marks)
        kept = self._packing.pack(thing) if kind in self._packed else self._texts.shared_in(thing)
        uid = self._texts.shared_in(str(thing["metadata"]["uid"]))
        if owner := _owner(thing):
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
        """Whatever somebody has written into one, the watch goes on."""
        if not (make := self._make_brief.get(kind)):
            return None
        try:
            return make(thing)
        except Exception as error:
            logger.warning("No brief can be made of %s %s: %r", kind, "/".join(place_of(thing)), error)
            return None

    def _forget_owner(self, owner: Place) -> None:
        if not any(owner in shelf.by_label for shelf in self._shelves.values()):
            self._owners.pop(owner, None)


def pruned(thing: Object) -> Object:
    """Without what nobody reads here and is often larger than the rest."""
    metadata: dict[str, Any] = {key: value for key, value in thing["metadata"].items() if key != "managedFields"}
    if thing.get("kind") == LLM_DEPLOYMENT.name and (told := writes(thing["metadata"].get("managedFields") or [])):
        metadata["managedFields"] = told
    if thing.get("kind") in FIELDS_ARE_READ and "managedFields" in thing["metadata"]:
        entries = thing["metadata"]["managedFields"]
        metadata["managedFields"] = [_fields(each) for each in entries if each.get("manager") == FIELD_MANAGER]
    if LAST_APPLIED in metadata.get("annotations", {}):
        annotations = metadata["annotations"].items()
        metadata["annotations"] = {key: value for key, value in annotations if key != LAST_APPLIED}
    return {**thing, "metadata": metadata}


def _fields(entry: Object) -> Object:
    return {name: entry[name] for name in OF_FIELDS if name in entry}


def bare(thing: Object) -> Object:
    """What is kept of one that is too large, or that can't be read: that it is there, and whose it seems to be."""
    metadata = thing["metadata"]
    labels = metadata.get("labels") or {}
    kept: Object = {name: metadata[name] for name in ALWAYS if name in metadata}
    kept["labels"] = {name: labels[name] for name in FOUND_BY if name in labels}
    if controller := next((each for each in metadata.get("ownerReferences") or [] if each.get("controller")), None):
        who = {name: str(controller.get(name, ""))[:LONGEST_NAME] for name in OF_OWNERS}
        kept["ownerReferences"] = [{**who, "controller": True}]
    return {**{name: thing[name] for name in ("apiVersion", "kind") if name in thing}, "metadata": kept}


def size_of(thing: Object) -> int:
    """Characters, written down."""
    return len(json.dumps(thing, separators=(",", ":"), ensure_ascii=False))


def place_of(thing: Object) -> Place:
    metadata = thing["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _owner(thing: Object) -> Place | None:
    """The LLMDeployment that the label names; of an EndpointSlice of another Service, that Service."""
    metadata = thing["metadata"]
    labels = metadata.get("labels") or {}
    owner = labels.get(OWNER_LABEL) or labels.get(SERVICE_LABEL)
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
