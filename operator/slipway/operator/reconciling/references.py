"""Whether what a spec names is there, before the first request pays for it.

Claims are watched. All else is asked for by name: when the spec names it for the first time; again while it isn't
there, soon at first and then every `AGAIN_AT_LAST`; else no more often than `FRESH_FOR`, when the deployment is looked
at in any case. What isn't known is no trouble.

A ConfigMap is read only where a key of it is named, and nothing of it is kept. Secrets are asked for only where the
operator has been allowed to, and for their metadata alone: their keys can't be had without what they say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from slipway.api.llmdeployment import LLMDeployment
from slipway.kube.client import KubeClient
from slipway.kube.errors import ForbiddenError, KubeError
from slipway.kube.kinds import (
    CONFIG_MAP,
    PERSISTENT_VOLUME_CLAIM,
    PRIORITY_CLASS,
    RUNTIME_CLASS,
    SECRET,
    SERVICE_ACCOUNT,
    Kind,
    Object,
)
from slipway.kube.store import Place, Store, place_of
from slipway.observing.references import Reference, lack_of_claim, lacks_in, references_of
from slipway.observing.world import Lack
from slipway.operator.reconciling.key import Key

AGAIN_AT_FIRST, AGAIN_AT_LAST = 2.0, 30.0  # seconds
FRESH_FOR = 300.0

ASKED_FOR: dict[str, Kind] = {
    kind.name: kind for kind in (CONFIG_MAP, SECRET, SERVICE_ACCOUNT, PRIORITY_CLASS, RUNTIME_CLASS)
}


@dataclass(frozen=True)
class Answer:
    """Of those that were asked for, the ones that aren't there, at that time."""

    asked: frozenset[Reference]
    lacks: tuple[Lack, ...]
    at: float
    tries: int  # in a row, with something lacking

    @property
    def again_after(self) -> float:
        """What may not be needed isn't worth more than what is there."""
        if not any(each.is_needed for each in self.lacks):
            return FRESH_FOR
        return min(AGAIN_AT_LAST, AGAIN_AT_FIRST * 2.0 ** min(self.tries - 1, 10))

    def is_fresh(self, now: float) -> bool:
        return now - self.at < self.again_after


class References:
    """`clock` is monotonic."""

    def __init__(self, client: KubeClient, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._store, self._clock = client, store, clock
        self._answers: dict[Key, Answer] = {}
        self._claims: dict[Key, tuple[str, ...]] = {}
        self._named_by: dict[Place, tuple[Key, ...]] = {}

    async def lacks(self, key: Key, deployment: LLMDeployment | None) -> tuple[Lack, ...]:
        """What it names that isn't there."""
        references = references_of(deployment.spec) if deployment else ()
        claims = [each for each in references if each.kind == PERSISTENT_VOLUME_CLAIM.name]
        self._remember(key, tuple(each.name for each in claims))
        found = [lack_of_claim(each, self._claim(key, each)) for each in claims]
        asked = frozenset(each for each in references if each.kind in ASKED_FOR)
        return (*(each for each in found if each), *await self._asked(key, asked))

    def look_again(self, key: Key) -> float | None:
        """After how many seconds, where nobody tells that it has come."""
        answer = self._answers.get(key)
        return answer.again_after if answer and answer.lacks else None

    def whom_concerns(self, claim: Object) -> Iterable[Key]:
        """Those that name it; each is known once it has been looked at."""
        return self._named_by.get(place_of(claim), ())

    def forget(self, key: Key) -> None:
        self._remember(key, ())
        self._answers.pop(key, None)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _claim(self, key: Key, reference: Reference) -> Object | None:
        return self._store.get(PERSISTENT_VOLUME_CLAIM, reference.name, key.namespace)

    def _remember(self, key: Key, claims: tuple[str, ...]) -> None:
        before = self._claims.get(key, ())
        if claims == before:
            return
        for name in set(before) - set(claims):
            left = tuple(each for each in self._named_by[key.namespace, name] if each != key)
            if left:
                self._named_by[key.namespace, name] = left
            else:
                del self._named_by[key.namespace, name]
        for name in set(claims) - set(before):
            self._named_by[key.namespace, name] = (*self._named_by.get((key.namespace, name), ()), key)
        if claims:
            self._claims[key] = claims
        else:
            self._claims.pop(key, None)

    async def _asked(self, key: Key, references: frozenset[Reference]) -> tuple[Lack, ...]:
        if not references:
            self._answers.pop(key, None)
            return ()
        known = self._answers.get(key)
        if known and known.asked == references and known.is_fresh(self._clock()):
            return known.lacks
        lacks = tuple([lack for each in _by_object(references) for lack in await self._lacks_in(key, each)])
        again = known.tries + 1 if known and known.lacks and known.asked == references else 1
        self._answers[key] = Answer(references, lacks, self._clock(), again)
        return lacks

    async def _lacks_in(self, key: Key, references: Sequence[Reference]) -> Iterable[Lack]:
        """What can't be found out is taken for there: a pod will tell."""
        kind, name = ASKED_FOR[references[0].kind], references[0].name
        namespace = key.namespace if kind.namespaced else None
        try:
            if kind == SECRET and not await self._client.may_get(kind, name, key.namespace):
                return ()
            if any(each.key for each in references):
                return lacks_in(references, _keys(await self._client.find(kind, name, namespace)))
            return lacks_in(references, () if await self._client.exists(kind, name, namespace) else None)
        except ForbiddenError:
            return ()
        except KubeError:
            return [each for each in self._lacked(key) if (each.kind, each.name) == (kind.name, name)]

    def _lacked(self, key: Key) -> tuple[Lack, ...]:
        answer = self._answers.get(key)
        return answer.lacks if answer else ()


def _by_object(references: Iterable[Reference]) -> list[list[Reference]]:
    """In the order of the fields that name them."""
    found: dict[tuple[str, str], list[Reference]] = {}
    for each in sorted(references, key=lambda each: (each.field, each.key)):
        found.setdefault((each.kind, each.name), []).append(each)
    return list(found.values())


def _keys(config_map: Object | None) -> frozenset[str] | None:
    return frozenset((*(config_map.get("data") or ()), *(config_map.get("binaryData") or ()))) if config_map else None
