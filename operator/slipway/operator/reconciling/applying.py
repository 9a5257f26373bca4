"""Carries a decision out: applies what differs, leaves alone what isn't ours, and says what was refused."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from slipway.api.names import KIND, MANAGED_BY, MANAGED_BY_LABEL, OWNER_LABEL
from slipway.kube.client import KubeClient
from slipway.kube.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    KindMissingError,
    UnavailableError,
)
from slipway.kube.kinds import DEPLOYMENT, INFERENCE_SERVICE, LLM_DEPLOYMENT, SERVICE, Kind, Object, kind_of
from slipway.kube.store import Store
from slipway.kube.work_queue import RetryLaterError
from slipway.observing.world import Refusal
from slipway.operator.reconciling.deciding import Hindrance
from slipway.operator.reconciling.key import Key
from slipway.operator.reconciling.ledger import Ledger
from slipway.operator.rendering import Desired, ObjectReference, ReplicaBounds
from slipway.operator.rendering.scaling import predictor_deployment

logger = logging.getLogger(__name__)

LOOK_AT_FOREIGN_AGAIN = 30.0  # seconds: nobody tells when an object that isn't ours goes
GOES_WITHIN = 1.0
END_IS_TOLD = 1.0


@dataclass
class Outcome:
    """What couldn't be done, and after how many seconds it is worth another look; None: when something changes."""

    refusals: list[Refusal] = field(default_factory=list)
    foreign: list[Object] = field(default_factory=list)
    rivals: list[str] = field(default_factory=list)  # who changes our fields back, in the API server's words
    look_again: float | None = None

    @property
    def hindrance(self) -> Hindrance:
        return Hindrance(refusals=tuple(self.refusals), foreign=tuple(self.foreign))

    @property
    def goes_on(self) -> bool:
        return not (self.refusals or self.foreign)

    @contextmanager
    def told(self, kind: str, name: str) -> Iterator[None]:
        """What is refused is noted, for the status to tell. What is only late is raised, for the queue to try again."""
        try:
            yield
        except KindMissingError as error:
            logger.info("%s is left out: %s", kind, error)  # the cache will know soon, too
        except (ForbiddenError, InvalidError) as error:
            self.refusals.append(Refusal(kind=kind, name=name, message=error.words))
        except UnavailableError as error:
            if error.code != 500:  # as which the API server answers when a webhook doesn't
                raise
            self.refusals.append(Refusal(kind=kind, name=name, message=error.words))

    def look_again_in(self, seconds: float) -> None:
        self.look_again = min(seconds, self.look_again or seconds)


class Applier:
    """`clock` is monotonic."""

    def __init__(
        self, client: KubeClient, store: Store, ledger: Ledger, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._store, self._ledger, self._clock = client, store, ledger, clock

    async def carry_out(self, key: Key, uid: str, desired: Desired, *, is_new: bool) -> Outcome:
        """In order, up to the first that is refused: what comes later may rely on it.

        `uid`: of the LLMDeployment; `is_new`: nothing was told of it yet.
        """
        outcome = Outcome()
        await self._remove_what_is_left(key, uid, desired, outcome)
        await self._leave_to_others(key, desired, outcome)
        seen = {kind_of(thing) for thing in desired.apply if self._newest(kind_of(thing), key, _name(thing))}
        for thing in desired.apply:
            if outcome.goes_on and not self._store.is_missing(kind_of(thing)):
                with outcome.told(thing["kind"], _name(thing)):
                    was_there = kind_of(thing) in seen
                    await self._bring_about(key, uid, thing, outcome, was_there=was_there, is_new=is_new)
        if outcome.goes_on and desired.replicas:
            with outcome.told(DEPLOYMENT.name, desired.replicas.deployment):
                await self._keep_within(key, desired.replicas)
        for reference in desired.delete:
            with outcome.told(reference.kind, reference.name):
                await self._remove(key, uid, reference)
        return outcome

    async def _remove_what_is_left(self, key: Key, uid: str, desired: Desired, outcome: Outcome) -> None:
        """By an LLMDeployment of this name that is gone.

        As a rule, garbage collection is faster. But it never comes where its watch was broken just then: it takes the
        two for one that has changed.
        """
        named = [(kind_of(thing), _name(thing)) for thing in desired.apply]
        cached = [(kind, self._store.get(kind, name, key.namespace)) for kind, name in named]
        left = [(kind, thing) for kind, thing in cached if thing and _is_predecessors(thing, key.name, uid)]
        for kind, thing in left:
            if not is_going(thing):
                with outcome.told(kind.name, _name(thing)):
                    await self._client.delete(kind, _name(thing), key.namespace, only=thing)
        if left and outcome.goes_on:
            raise RetryLaterError("What one of this name that is gone has left behind goes first", after=GOES_WITHIN)

    async def _leave_to_others(self, key: Key, desired: Desired, outcome: Outcome) -> None:
        """KServe makes a Deployment and a Service of one name, and takes over whatever has it already.

        Once there is the InferenceService, so are they; until then one of that name is somebody else's.
        """
        wanted = INFERENCE_SERVICE in {kind_of(thing) for thing in desired.apply}
        if not wanted or self._store.is_missing(INFERENCE_SERVICE) or self._newest(INFERENCE_SERVICE, key, key.name):
            return
        name = predictor_deployment(key.name)
        for kind in (SERVICE, DEPLOYMENT):
            with outcome.told(kind.name, name):
                live = await self._client.find(kind, name, key.namespace)
                if live and not _is_kserves(live, key.name):
                    outcome.foreign.append(live)
                    outcome.look_again_in(LOOK_AT_FOREIGN_AGAIN)

    async def _bring_about(
        self, key: Key, uid: str, thing: Object, outcome: Outcome, *, was_there: bool, is_new: bool
    ) -> None:
        kind = kind_of(thing)
        live = await self._live(kind, key, _name(thing))
        if was_there and live is None:  # it was rendered for a world that is no more
            self._ledger.forget(key, kind)
            raise RetryLaterError(f"{kind} {_name(thing)} has ended meanwhile")
        if live is None and not is_new:
            await self._surely_lives(key, uid)
        if live and is_foreign(live, key[1], uid):
            outcome.foreign.append(live)
            outcome.look_again_in(LOOK_AT_FOREIGN_AGAIN)
        elif live is None or not is_going(live):  # one that goes is made anew when it has gone
            await self._apply_if_due(kind, key, thing, live, outcome)

    async def _surely_lives(self, key: Key, uid: str) -> None:
        """Of an end, the children's watches may tell before its own does; what was made now would be collected."""
        found = await self._client.find(LLM_DEPLOYMENT, key.name, key.namespace)
        if found is None or found["metadata"]["uid"] != uid:
            raise RetryLaterError("It has been deleted, which no watch has told yet", after=END_IS_TOLD)

    def _newest(self, kind: Kind, key: Key, name: str) -> Object | None:
        return self._ledger.newest(kind, key, self._store.get(kind, name, key.namespace))

    async def _live(self, kind: Kind, key: Key, name: str) -> Object | None:
        """What isn't in the cache may be new, or gone, or somebody else's, which the cache doesn't hold."""
        namespace, _ = key
        if cached := self._store.get(kind, name, namespace):
            return self._ledger.newest(kind, key, cached)
        return await self._client.find(kind, name, namespace)

    async def _apply_if_due(self, kind: Kind, key: Key, thing: Object, live: Object | None, outcome: Outcome) -> None:
        if self._ledger.is_new(kind, key, thing, live):
            await self._apply(kind, key, thing, live, "changed" if live else "created")
        elif live and self._ledger.has_drifted(kind, key, thing, live):
            if rest := self._ledger.rest(kind, key, self._clock()):
                outcome.look_again_in(rest)
                outcome.rivals += await self._rivals(thing)
                return
            await self._apply(kind, key, thing, live, "repaired")
            self._ledger.repaired(kind, key, self._clock())

    async def _apply(self, kind: Kind, key: Key, thing: Object, live: Object | None, what: str) -> None:
        """What seems not to be there may have come since, and be somebody else's: nothing is taken from that."""
        try:
            result = await self._client.apply(thing, force=live is not None)
        except ConflictError as error:
            raise RetryLaterError(f"{kind} {_name(thing)} has come meanwhile: {error.words}") from None
        self._ledger.note(kind, key, thing, result, cached=self._store.get(kind, key.name, key.namespace))
        logger.info("%s %s", kind, what, extra={"key": str(key)})

    async def _rivals(self, thing: Object) -> list[str]:
        """Without force, the API server names them and their fields, and changes nothing."""
        try:
            await self._client.apply(thing, force=False)
        except ConflictError as error:
            return [error.words]
        return []

    async def _keep_within(self, key: Key, bounds: ReplicaBounds) -> None:
        namespace, _ = key
        made = self._store.get(DEPLOYMENT, bounds.deployment, namespace)
        made = self._ledger.newest(DEPLOYMENT, key, made) if made else None
        if made is None or is_going(made):
            return
        count = int(made["spec"].get("replicas", 1))
        wanted = min(max(count, bounds.at_least), bounds.at_most)
        if wanted == count:
            return
        scale = await self._client.scale(DEPLOYMENT, bounds.deployment, namespace, wanted)
        self._ledger.note(DEPLOYMENT, key, {"spec": scale["spec"]}, {**made, **scale})
        logger.info("Scaled from %d to %d", count, wanted, extra={"key": str(key)})

    async def _remove(self, key: Key, uid: str, reference: ObjectReference) -> None:
        kind = kind_of({"apiVersion": reference.api_version, "kind": reference.kind})
        there = self._store.get(kind, reference.name, reference.namespace)
        if there and not is_going(there) and not is_foreign(there, key[1], uid):
            await self._client.delete(kind, reference.name, reference.namespace, only=there)
            self._ledger.forget(key, kind)
            logger.info("%s deleted", kind, extra={"key": str(key)})


def _name(thing: Object) -> str:
    return str(thing["metadata"]["name"])


def is_going(thing: Object) -> bool:
    return "deletionTimestamp" in thing["metadata"]


def is_foreign(thing: Object, name: str, uid: str) -> bool:
    """Whose it is: its controller says so, and where it has none, our labels. Raises if it is a predecessor's.

    Things that carry our labels and have no controller are ours, so that deployments can be orphaned and restored.
    """
    owner = _controller(thing)
    if owner is None:
        return not _has_our_labels(thing, name)
    if _is_predecessors(thing, name, uid):
        raise RetryLaterError(
            f"{thing.get('kind')} {name} belongs to an LLMDeployment of this name that is gone, and goes as well",
            after=GOES_WITHIN,
        )
    return bool(owner["uid"] != uid)


def _is_kserves(thing: Object, name: str) -> bool:
    """Whether KServe made it for an InferenceService of this name, be it gone by now. A restored one has no owner."""
    if owner := _controller(thing):
        return (owner.get("kind"), owner.get("name")) == (INFERENCE_SERVICE.name, name)
    return _has_our_labels(thing, name)


def _has_our_labels(thing: Object, name: str) -> bool:
    labels = thing["metadata"].get("labels") or {}
    return (labels.get(OWNER_LABEL), labels.get(MANAGED_BY_LABEL)) == (name, MANAGED_BY)


def _is_predecessors(thing: Object, name: str, uid: str) -> bool:
    owner = _controller(thing) or {}
    return (owner.get("kind"), owner.get("name")) == (KIND, name) and owner["uid"] != uid


def _controller(thing: Object) -> Object | None:
    owners: list[Object] = thing["metadata"].get("ownerReferences") or []
    return next((each for each in owners if each.get("controller")), None)
