"""Where is looked for objects of each kind: in all of the cluster, or in some namespaces by their names.

Of those, one may be closed to us: it was deleted, or our Role in it was. Then the others are watched all the same, and
it is tried again now and then. What was known of it stays known, unless it is gone: rights can be missing for a moment.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from slipway.kube.errors import ForbiddenError, KubeError
from slipway.kube.kinds import NAMESPACE, Kind, Object

logger = logging.getLogger(__name__)

FORBIDDEN = 403  # and not 401, which says nothing of the namespace


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


class Places:
    def __init__(self, client: Lister, namespaces: Mapping[Kind, Sequence[str]]) -> None:
        self._client, self._namespaces = client, namespaces
        self.all = tuple(dict.fromkeys(each for where in namespaces.values() for each in where))
        self._closed: dict[str, Kind] = {}  # and which kind we were refused

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
        if not watched:
            return None
        refused = self._closed.get(namespace)
        kind = refused if refused in watched else watched[0]
        try:
            await self._client.list_metadata(kind, namespace)
        except ForbiddenError as error:
            self._close(namespace, kind, error)
            return None
        return kind if self._closed.pop(namespace, None) else None  # else it was open all the time

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
        if namespace not in self._closed:
            logger.warning(
                "Namespace %s is not watched, the others are: %s. Where it is there, give us the rights of the chart's "
                "Roles in it; else take it from the namespaces to watch",
                namespace,
                error,
            )
        self._closed.setdefault(namespace, kind)
