"""Where objects of each kind are listed and watched: in the entire cluster, or in some namespaces by their names.

Such a namespace may be closed to us: it was deleted, or our Role in it was. Then the others are still watched, and the
closed one is tried again now and then. What is stored of its objects stays, unless the namespace is gone: rights can be
missing for a moment. A kind that can be done without has rights of its own, and closes there alone.

All watches restart when a namespace closes and when it opens. Its owner could make that happen all the time, so a
namespace that closes again and again stays closed for longer each time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from slipway.kube.errors import ForbiddenError, KubeError
from slipway.objects.kinds import NAMESPACE, Kind, Object

logger = logging.getLogger(__name__)

FORBIDDEN = 403  # and not 401, which says nothing about the namespace
SHORTEST_CLOSING, LONGEST_CLOSING = 15.0, 900.0
"""Seconds for which a namespace that has closed again stays closed; they double each time."""
FORGOTTEN_AFTER = 3600.0  # seconds without closing


class Lister(Protocol):
    async def list_metadata(
        self, kind: Kind, namespace: str | None = None, *, label_selector: str = ""
    ) -> list[Object]: ...

    async def serves(self, kind: Kind) -> bool: ...

    async def exists(self, kind: Kind, name: str, namespace: str | None = None) -> bool: ...


@dataclass(frozen=True)
class Listing:
    """The objects of a kind that exist, and the namespaces of which that isn't known."""

    listed: Sequence[Object]
    unseen: frozenset[str] = frozenset()


class Area(NamedTuple):
    """What opens and closes together: a namespace, or one kind in it that can be done without."""

    namespace: str
    kind: Kind | None = None

    def __str__(self) -> str:
        return f"{self.kind.plural} of namespace {self.namespace}" if self.kind else f"namespace {self.namespace}"


@dataclass(frozen=True)
class Closing:
    """When a namespace last closed, and for how many seconds after that it isn't tried."""

    at: float
    pause: float = 0.0

    def again(self, now: float) -> Closing:
        if now - self.at > FORGOTTEN_AFTER:
            return Closing(now)
        return Closing(now, min(LONGEST_CLOSING, max(SHORTEST_CLOSING, 2 * self.pause)))


class WatchedNamespaces:
    """Lives as long as the cache audit, which lists by it. `namespaces`: none of a kind is the entire cluster. `apart`:
    the kinds that can be done without."""

    def __init__(
        self,
        client: Lister,
        namespaces: Mapping[Kind, Sequence[str]],
        clock: Callable[[], float] = time.monotonic,
        apart: Collection[Kind] = (),
    ) -> None:
        self._client, self._namespaces, self._clock, self._apart = client, namespaces, clock, frozenset(apart)
        areas = (self._area(kind, each) for kind, where in namespaces.items() for each in where)
        self.all = tuple(dict.fromkeys(areas))
        self._closed: dict[Area, Kind] = {}  # with the kind that was refused
        self._closings: dict[Area, Closing] = {}

    @property
    def closed(self) -> Collection[Area]:
        return self._closed.keys()

    def is_closed(self, kind: Kind, namespace: str) -> bool:
        return Area(namespace) in self._closed or Area(namespace, kind) in self._closed

    async def list_all(self, kind: Kind, selector: str) -> Listing | None:
        """None: all namespaces are closed. KubeError: the API server does not answer for one of them now."""
        if not (where := self._namespaces.get(kind)):
            return Listing(await self._client.list_metadata(kind, None, label_selector=selector))
        found = {each: await self._objects_in(each, kind, selector) for each in where}
        unseen = frozenset(each for each, objects in found.items() if objects is None)
        if len(unseen) == len(found):
            return None
        return Listing([thing for objects in found.values() for thing in objects or ()], unseen)

    async def try_to_open(self, area: Area, kinds: Collection[Kind]) -> Kind | None:
        """The kind whose list was allowed, if the area has opened: the one refused there, or any of `kinds`."""
        watched = [kind for kind in kinds if self._is_in(area, kind)]
        if not watched or self._is_left_closed(area):
            return None
        refused = self._closed.get(area)
        kind = refused if refused in watched else watched[0]
        try:
            await self._client.list_metadata(kind, area.namespace)
        except ForbiddenError as error:
            self._close(area, kind, error)
            return None
        return kind if self._closed.pop(area, None) else None  # else it was open already

    def _area(self, kind: Kind, namespace: str) -> Area:
        return Area(namespace, kind if kind in self._apart else None)

    def _is_in(self, area: Area, kind: Kind) -> bool:
        return area.namespace in self._namespaces.get(kind, ()) and self._area(kind, area.namespace) == area

    def _is_left_closed(self, area: Area) -> bool:
        closing = self._closings.get(area)
        return closing is not None and area in self._closed and self._clock() - closing.at < closing.pause

    async def _objects_in(self, namespace: str, kind: Kind, selector: str) -> list[Object] | None:
        """None: it isn't known."""
        try:
            return await self._client.list_metadata(kind, namespace, label_selector=selector)
        except ForbiddenError as error:
            self._close(self._area(kind, namespace), kind, error)
        return [] if await self._is_gone(namespace) else None

    async def _is_gone(self, namespace: str) -> bool:
        try:
            return not await self._client.exists(NAMESPACE, namespace)
        except KubeError:
            return False

    def _close(self, area: Area, kind: Kind, error: ForbiddenError) -> None:
        if error.code != FORBIDDEN:
            raise error
        if area in self._closed:
            return
        self._closed[area] = kind
        now, before = self._clock(), self._closings.get(area)
        self._closings[area] = closing = before.again(now) if before else Closing(now)
        logger.warning(
            "Not watched, as all else is: %s%s. The reason is: %s. If the namespace exists, give us the rights of the "
            "chart's Roles in it; if not, remove it from the namespaces in the chart's values",
            area,
            f", for at least {closing.pause:.0f} s, because this was closed to us before" if closing.pause else "",
            error,
        )
