"""Where is looked for objects of each kind: in all of the cluster, or in some namespaces by their names.

Of those, one may be closed to us: it was deleted, or our Role in it was. Then the others are watched all the same, and
it is tried again now and then. What was known of it stays known, unless it is gone: rights can be missing for a moment.

Watches begin anew, all of them, when a namespace closes and when it opens. Whoever rules one could have that happen all
the time, so one that closes again and again is left closed for longer each time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from slipway.kube.errors import ForbiddenError, KubeError
from slipway.objects.kinds import NAMESPACE, Kind, Object

logger = logging.getLogger(__name__)

FORBIDDEN = 403  # and not 401, which says nothing of the namespace
SHORTEST, LONGEST = 15.0, 900.0
"""Seconds for which a namespace that has closed again is left closed; they double each time."""
FORGOTTEN_AFTER = 3600.0  # seconds without closing


class Lister(Protocol):
    async def list_metadata(
        self, kind: Kind, namespace: str | None = None, *, label_selector: str = ""
    ) -> list[Object]: ...

    async def serves(self, kind: Kind) -> bool: ...

    async def exists(self, kind: Kind, name: str, namespace: str | None = None) -> bool: ...


@dataclass(frozen=True)
class Seen:
    """What is there of a kind, and the namespaces of which that isn't known."""

    listed: Sequence[Object]
    unseen: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Closing:
    """The last one of a namespace, and for how many seconds it isn't tried after that."""

    at: float
    pause: float = 0.0

    def again(self, now: float) -> Closing:
        if now - self.at > FORGOTTEN_AFTER:
            return Closing(now)
        return Closing(now, min(LONGEST, max(SHORTEST, 2 * self.pause)))


class Places:
    def __init__(
        self, client: Lister, namespaces: Mapping[Kind, Sequence[str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._namespaces, self._clock = client, namespaces, clock
        self.all = tuple(dict.fromkeys(each for where in namespaces.values() for each in where))
        self._closed: dict[str, Kind] = {}  # and which kind we were refused
        self._closings: dict[str, Closing] = {}

    @property
    def closed(self) -> Collection[str]:
        return self._closed.keys()

    async def look(self, kind: Kind, selector: str) -> Seen | None:
        """None: of no namespace it can be told. KubeError: of one of them not now."""
        if not (where := self._namespaces.get(kind)):
            return Seen(await self._client.list_metadata(kind, None, label_selector=selector))
        found = {each: await self._objects_in(each, kind, selector) for each in where}
        unseen = frozenset(each for each, objects in found.items() if objects is None)
        if len(unseen) == len(found):
            return None
        return Seen([thing for objects in found.values() for thing in objects or ()], unseen)

    async def try_to_open(self, namespace: str, kinds: Collection[Kind]) -> Kind | None:
        """The kind by which it is seen that it has opened: the one that we were refused there, or any of `kinds`."""
        watched = [kind for kind in kinds if namespace in self._namespaces.get(kind, ())]
        if not watched or self._is_left_closed(namespace):
            return None
        refused = self._closed.get(namespace)
        kind = refused if refused in watched else watched[0]
        try:
            await self._client.list_metadata(kind, namespace)
        except ForbiddenError as error:
            self._close(namespace, kind, error)
            return None
        return kind if self._closed.pop(namespace, None) else None  # else it was open all the time

    def _is_left_closed(self, namespace: str) -> bool:
        closing = self._closings.get(namespace)
        return closing is not None and namespace in self._closed and self._clock() - closing.at < closing.pause

    async def _objects_in(self, namespace: str, kind: Kind, selector: str) -> list[Object] | None:
        """None: it can't be told."""
        try:
            return await self._client.list_metadata(kind, namespace, label_selector=selector)
        except ForbiddenError as error:
            self._close(namespace, kind, error)
        return [] if await self._is_gone(namespace) else None

    async def _is_gone(self, namespace: str) -> bool:
        try:
            return not await self._client.exists(NAMESPACE, namespace)
        except KubeError:
            return False

    def _close(self, namespace: str, kind: Kind, error: ForbiddenError) -> None:
        if error.code != FORBIDDEN:
            raise error
        if namespace in self._closed:
            return
        self._closed[namespace] = kind
        now, before = self._clock(), self._closings.get(namespace)
        self._closings[namespace] = closing = before.again(now) if before else Closing(now)
        logger.warning(
            "Namespace %s is not watched%s, the others are: %s. Where it is there, give us the rights of the chart's "
            "Roles in it; else take it from the namespaces to watch",
            namespace,
            f" for {closing.pause:.0f} s at least, since it was closed to us before" if closing.pause else "",
            error,
        )
