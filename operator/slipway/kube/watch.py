"""What a program wants to know of the objects of one kind, written down as a value: no watch is started here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from slipway.kube.store import bare, place_of, pruned, size_of
from slipway.objects.kinds import Kind, Object

logger = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Watch(Generic[Key]):
    """Which objects of a kind to watch, which of their fields to store, and which keys a change of one concerns."""

    kind: Kind
    keys: Callable[[Object], Iterable[Key]]
    label_selector: str = ""
    field_selector: str = ""
    namespaces: tuple[str, ...] = ()  # without any, the entire cluster
    keep: Callable[[Object], Object] = pruned  # called in the thread of the watch
    adopt: Callable[[Object], Object | None] = lambda kept: kept  # None: not needed; called in the program's loop
    packed: bool = False  # stored as text: for kinds with many objects, of which few are read in any minute
    largest: int = 64 << 10  # characters of what is stored of one object
    is_hint: bool = False
    """Its events help when they arrive, and are not missed when they don't: nothing waits for it or audits it."""
    may_be_closed: bool = False
    """It can be done without: a namespace where it is forbidden is closed for it alone, and if all of its namespaces
    are, nothing waits for it, as if it had no objects."""

    def shrunk(self, thing: Object, *, labels: Iterable[str] = ()) -> Object:
        """What is stored of it: bounded in size, and never nothing, or the audit would report it as missing forever.

        `labels`: those that even an object keeps that is too large.
        """
        try:
            kept = self.keep(thing)
            why = "" if size_of(kept) <= self.largest else "it is too large"
        except Exception as error:  # whatever a tenant wrote into this one, the events of the others must arrive
            why = f"it can't be read: {type(error).__name__}: {error!s:.200}"
        if not why:
            return kept
        logger.warning("Of %s %s only the name is stored: %s", self.kind, "/".join(place_of(thing)), why)
        return bare(thing, labels)

    def kept(self, thing: Object, *, labels: Iterable[str] = ()) -> Object | None:
        return self.adopt(self.shrunk(thing, labels=labels))


def with_home(watched: tuple[str, ...], home: str) -> tuple[str, ...]:
    """The namespaces of models and Slipway's own, for kinds that are in both; none: the entire cluster."""
    return tuple(dict.fromkeys((*watched, home))) if watched else ()
