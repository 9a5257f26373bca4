"""Which models are removed from a node, and which volumes are refused. Pure.

Only what no pod uses is removed: first what has not been used for too long, and what can't be a model, then the least
recently used, while a namespace or all of them have more than they may, or the disk has too little left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from slipway.api.units import about
from slipway.nodecache.layout import OTHER


class Why(StrEnum):
    AGE = "age"
    NAMESPACE = "namespace-size"
    TOTAL = "total-size"
    DISK = "disk"
    GONE = "namespace-gone"
    UNCOUNTED = "too-many-files"


@dataclass(frozen=True)
class Limits:
    total: int | None  # bytes
    namespace: int | None  # bytes of one namespace
    min_free: float  # the share of the disk that stays free; from half of it on, volumes are refused
    unused_for: float  # seconds


@dataclass(frozen=True)
class Disk:
    size: int
    free: int

    def lacks(self, share: float) -> int:
        """How many bytes are missing until that share is free."""
        return max(0, int(self.size * share) - self.free)


@dataclass(frozen=True)
class Entry:
    """A model in the folder of a namespace, or what else is there."""

    namespace: str  # its uid
    key: str
    size: int
    used_at: float
    is_used: bool  # a pod's volume names it
    is_counted: bool = True  # false: it has more files, or deeper folders, than are counted

    @property
    def is_model(self) -> bool:
        return self.key != OTHER


Evictions = list[tuple[Entry, Why]]


def to_evict(entries: Iterable[Entry], limits: Limits, disk: Disk, now: float) -> Evictions:
    """In the order in which they are to be removed."""
    choice = _Choice(entries)
    choice.evict((entry for entry in choice.unused if entry.used_at + limits.unused_for < now), Why.AGE)
    choice.evict((entry for entry in choice.unused if not entry.is_counted), Why.UNCOUNTED)
    choice.free(disk.lacks(limits.min_free) - choice.freed, Why.DISK)
    if limits.namespace is not None:
        for namespace in {entry.namespace for entry in choice.left}:
            choice.free(choice.size(namespace) - limits.namespace, Why.NAMESPACE, namespace)
    if limits.total is not None:
        choice.free(total_size(choice.left, limits) - limits.total, Why.TOTAL)
    return choice.evictions


class _Choice:
    """What is left, the least recently used first, and what goes."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.left = sorted(entries, key=lambda entry: entry.used_at)
        self.evictions: Evictions = []

    @property
    def unused(self) -> list[Entry]:
        return [entry for entry in self.left if not entry.is_used]

    @property
    def freed(self) -> int:
        return sum(entry.size for entry, _ in self.evictions)

    def size(self, namespace: str) -> int:
        return sum(entry.size for entry in self.left if entry.namespace == namespace)

    def free(self, missing: int, why: Why, namespace: str | None = None) -> None:
        """Of that namespace alone, or of all."""
        chosen = []
        for entry in self.unused:
            if missing > 0 and namespace in (None, entry.namespace):
                chosen.append(entry)
                missing -= entry.size
        self.evict(chosen, why)

    def evict(self, entries: Iterable[Entry], why: Why) -> None:
        """All at once: a tenant chooses how many there are."""
        going = dict.fromkeys(entries)
        self.evictions += [(entry, why) for entry in going]
        self.left = [entry for entry in self.left if entry not in going]


def total_size(entries: Iterable[Entry], limits: Limits) -> int:
    """A namespace counts with at most what it may have, so that no other one loses a model for what is above it."""
    sizes = Counter[str]()
    for entry in entries:
        sizes[entry.namespace] += entry.size
    return sum(size if limits.namespace is None else min(size, limits.namespace) for size in sizes.values())


def refusal(entries: Sequence[Entry], namespace: str, limits: Limits, disk: Disk) -> str | None:
    """Why no further model may come into that namespace's folder, in a sentence, or None."""
    own = [entry for entry in entries if entry.namespace == namespace]
    size, total = sum(entry.size for entry in own), total_size(entries, limits)
    if not all(entry.is_counted for entry in own):
        return (
            "this namespace's folder on the node has more files or deeper folders than can be counted: delete the pods "
            "that have written them, so that they can be removed"
        )
    if limits.namespace is not None and size >= limits.namespace:
        return (
            f"models that pods of this namespace use have {about(size)} on the node, and {about(limits.namespace)} "
            "are allowed (modelCache.node.namespaceSize): stop one of them, or have the value raised"
        )
    if limits.total is not None and total >= limits.total:
        return (
            f"models that pods use have {about(total)} on the node, and {about(limits.total)} are allowed "
            "(modelCache.node.totalSize): stop one of them, or have the value raised"
        )
    if disk.lacks(limits.min_free / 2):
        return (
            f"the node's disk has {about(disk.free)} of {about(disk.size)} left, and nothing in its model cache "
            "can be removed: free space on the node, or lower modelCache.node.minFreePercent"
        )
    return None
