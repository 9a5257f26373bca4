"""Whether the objects that a spec names exist, before the first request waits for them in vain.

Claims are watched. All other objects are looked up by name: when the spec names them for the first time; again while
one is missing, soon at first and then every `AGAIN_AT_LAST`; otherwise at most every `FRESH_FOR`, in a reconcile that
happens anyway. What can't be looked up doesn't count as a problem.

A ConfigMap is read only where the spec names a key of it, and none of its contents are stored. Secrets are looked up
only where the operator has the right to, and only their metadata: their keys can't be read without their values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from slipway.api.model_key import ModelKey
from slipway.kube.client import KubeClient
from slipway.kube.errors import ForbiddenError, KubeError
from slipway.kube.store import Store
from slipway.objects.kinds import (
    CONFIG_MAP,
    PERSISTENT_VOLUME_CLAIM,
    PRIORITY_CLASS,
    RUNTIME_CLASS,
    SECRET,
    SERVICE_ACCOUNT,
    Kind,
    Object,
)
from slipway.observing.references import Reference, unmet_claim, unmet_in
from slipway.observing.snapshot import UnmetReference
from slipway.operator.reconciling.memory import Memories, ModelMemory
from slipway.operator.reconciling.reference_check import ReferenceCheck

LOOKED_UP: dict[str, Kind] = {
    kind.name: kind for kind in (CONFIG_MAP, SECRET, SERVICE_ACCOUNT, PRIORITY_CLASS, RUNTIME_CLASS)
}


class References:
    """`clock` is monotonic."""

    def __init__(
        self, client: KubeClient, store: Store, memories: Memories, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._store, self._memories, self._clock = client, store, memories, clock

    async def unmet(
        self, key: ModelKey, memory: ModelMemory, references: Sequence[Reference]
    ) -> tuple[UnmetReference, ...]:
        """Those of the references that the cluster lacks."""
        claims = [each for each in references if each.kind == PERSISTENT_VOLUME_CLAIM.name]
        self._memories.name_claims(key, tuple(each.name for each in claims))
        found = [unmet_claim(each, self._claim(key, each)) for each in claims]
        looked_up = frozenset(each for each in references if each.kind in LOOKED_UP)
        return (*(each for each in found if each), *await self._checked(key, memory, looked_up))

    def look_again(self, memory: ModelMemory) -> float | None:
        """After how many seconds, where no watch reports that the object was created."""
        check = memory.references
        return check.again_after if check and check.unmet else None

    # --- inside -----------------------------------------------------------------------------------------------------

    def _claim(self, key: ModelKey, reference: Reference) -> Object | None:
        return self._store.get(PERSISTENT_VOLUME_CLAIM, reference.name, key.namespace)

    async def _checked(
        self, key: ModelKey, memory: ModelMemory, references: frozenset[Reference]
    ) -> tuple[UnmetReference, ...]:
        if not references:
            memory.references = None
            return ()
        known = memory.references
        if known and known.references == references and known.is_fresh(self._clock()):
            return known.unmet
        known_unmet = known.unmet if known else ()
        unmet = tuple(
            [lack for each in _by_object(references) for lack in await self._unmet_in(key, each, known_unmet)]
        )
        tries = known.tries + 1 if known and known.unmet and known.references == references else 1
        memory.references = ReferenceCheck(references, unmet, self._clock(), tries)
        return unmet

    async def _unmet_in(
        self, key: ModelKey, references: Sequence[Reference], known: Sequence[UnmetReference]
    ) -> Iterable[UnmetReference]:
        """All of one object. What can't be looked up counts as met: the status of a pod will show otherwise."""
        kind, name = LOOKED_UP[references[0].kind], references[0].name
        namespace = key.namespace if kind.namespaced else None
        try:
            if kind == SECRET and not await self._client.may_get(kind, name, key.namespace):
                return ()
            if any(each.key for each in references):
                return unmet_in(references, _keys(await self._client.find(kind, name, namespace)))
            return unmet_in(references, () if await self._client.exists(kind, name, namespace) else None)
        except ForbiddenError:
            return ()
        except KubeError:
            return [each for each in known if (each.kind, each.name) == (kind.name, name)]


def _by_object(references: Iterable[Reference]) -> list[list[Reference]]:
    """In the order of the fields that name them."""
    found: dict[tuple[str, str], list[Reference]] = {}
    for each in sorted(references, key=lambda each: (each.field, each.key)):
        found.setdefault((each.kind, each.name), []).append(each)
    return list(found.values())


def _keys(config_map: Object | None) -> frozenset[str] | None:
    return frozenset((*(config_map.get("data") or ()), *(config_map.get("binaryData") or ()))) if config_map else None
