"""Carries a decision out: applies what differs, leaves foreign objects alone, and records what was refused."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from slipway.api.model_key import ModelKey
from slipway.kube.client import KubeClient
from slipway.kube.errors import ConflictError
from slipway.kube.overlay import Overlay
from slipway.kube.store import Store
from slipway.kube.work_queue import RetryLaterError
from slipway.objects.kinds import DEPLOYMENT, INFERENCE_SERVICE, LLM_DEPLOYMENT, SERVICE, Object, ObjectKey
from slipway.objects.metadata import controller_of, is_being_deleted, uid_of
from slipway.operator.reconciling.memory import Applied, ModelMemory
from slipway.operator.reconciling.outcome import Outcome
from slipway.operator.reconciling.ownership import is_foreign, is_kserves, is_predecessors
from slipway.operator.rendering import Child, Desired, ReplicaBounds
from slipway.operator.rendering.scaling import predictor_deployment

logger = logging.getLogger(__name__)

LOOK_AT_FOREIGN_AGAIN = 30.0  # seconds: no watch reports the end of a foreign object
GOES_WITHIN = 1.0
DELETE_IS_REPORTED_WITHIN = 1.0


class Applier:
    """`clock` is monotonic."""

    def __init__(
        self, client: KubeClient, store: Store, overlay: Overlay, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._store, self._overlay, self._clock = client, store, overlay, clock

    async def carry_out(self, key: ModelKey, memory: ModelMemory, desired: Desired, *, is_new: bool) -> Outcome:
        """Applies in order, up to the first refusal: later objects may rely on earlier ones.

        `is_new`: the LLMDeployment has no status yet.
        """
        run = _Run(
            client=self._client,
            store=self._store,
            overlay=self._overlay,
            clock=self._clock,
            key=key,
            memory=memory,
            is_new=is_new,
        )
        return await run.carry_out(desired)


@dataclass(kw_only=True)
class _Run:
    """Carries out one decision about one LLMDeployment."""

    client: KubeClient
    store: Store
    overlay: Overlay
    clock: Callable[[], float]
    key: ModelKey
    memory: ModelMemory
    is_new: bool
    outcome: Outcome = field(default_factory=Outcome)

    async def carry_out(self, desired: Desired) -> Outcome:
        await self._remove_leftovers(desired)
        await self._check_for_foreign_predictor(desired)
        known = {child.kind for child in desired.apply if self._cached(child)}
        for child in desired.apply:
            if self.outcome.goes_on and not self.store.is_missing(child.kind):
                with self.outcome.noting_refusals(child.kind, child.name):
                    await self._bring_about(child, was_there=child.kind in known)
        if self.outcome.goes_on and desired.replicas:
            with self.outcome.noting_refusals(DEPLOYMENT, desired.replicas.deployment):
                await self._keep_within(desired.replicas)
        for reference in desired.delete:
            with self.outcome.noting_refusals(reference.kind, reference.name):
                await self._remove(reference)
        return self.outcome

    # --- what is in the way -----------------------------------------------------------------------------------------

    async def _remove_leftovers(self, desired: Desired) -> None:
        """Deletes the objects of a deleted LLMDeployment of the same name.

        Usually garbage collection is faster. But where its watch was interrupted just then, it takes the old and the
        new LLMDeployment for one object that has changed, and never deletes them.
        """
        found = [(child, self._cached(child)) for child in desired.apply]
        left = [(child, each) for child, each in found if each and self._is_predecessors(each)]
        for child, each in left:
            if not is_being_deleted(each):
                with self.outcome.noting_refusals(child.kind, child.name):
                    await self._delete(self._key_of(child), each)
        if left and self.outcome.goes_on:
            raise RetryLaterError("Objects of a deleted LLMDeployment of this name must go first", after=GOES_WITHIN)

    async def _check_for_foreign_predictor(self, desired: Desired) -> None:
        """KServe makes a Deployment and a Service of one name, and takes over existing ones of that name.

        Once the InferenceService exists, they are KServe's; before, one of that name is foreign.
        """
        child = next((each for each in desired.apply if each.kind == INFERENCE_SERVICE), None)
        if child is None or self.store.is_missing(INFERENCE_SERVICE) or self._cached(child):
            return
        name = predictor_deployment(self.key.name)
        for kind in (SERVICE, DEPLOYMENT):
            with self.outcome.noting_refusals(kind, name):
                live = await self.client.find(kind, name, self.key.namespace)
                if live and not is_kserves(live, self.key.name):
                    self._note_foreign(live)

    def _note_foreign(self, live: Object) -> None:
        self.outcome.foreign.append(live)
        self.outcome.look_again_in(LOOK_AT_FOREIGN_AGAIN)

    def _is_predecessors(self, found: Object) -> bool:
        return is_predecessors(found, self.key.name, self.memory.uid)

    def _is_foreign(self, found: Object) -> bool:
        """Raises RetryLaterError if it is a predecessor's, which is about to be deleted."""
        if self._is_predecessors(found):
            raise RetryLaterError(
                f"{found.get('kind')} {self.key.name} belongs to a deleted LLMDeployment of this name, and goes too",
                after=GOES_WITHIN,
            )
        return is_foreign(found, self.key.name, self.memory.uid)

    # --- one object -------------------------------------------------------------------------------------------------

    async def _bring_about(self, child: Child, *, was_there: bool) -> None:
        live = await self._live(child)
        if was_there and live is None:  # it was rendered for a state that has passed
            self._forget(self._key_of(child))
            raise RetryLaterError(f"{child} was deleted meanwhile")
        if live is None and not self.is_new:
            await self._check_that_it_lives()
        if live and self._is_foreign(live):
            self._note_foreign(live)
        elif live is None or not is_being_deleted(live):  # it is recreated once it is gone
            await self._apply_if_due(child, live)

    async def _check_that_it_lives(self) -> None:
        """The children's watches may report a deletion before the LLMDeployment's own does.

        Garbage collection would delete a child that is created now, or that gets its owner back: children lose it when
        the LLMDeployment is deleted without them (`--cascade=orphan`).
        """
        found = await self.client.find(LLM_DEPLOYMENT, self.key.name, self.key.namespace)
        if found is None or uid_of(found) != self.memory.uid or is_being_deleted(found):
            raise RetryLaterError(
                "The LLMDeployment was deleted, and no watch has reported it yet", after=DELETE_IS_REPORTED_WITHIN
            )

    async def _live(self, child: Child) -> Object | None:
        """An object that isn't in the cache may be new, or gone, or foreign: the cache holds labelled objects only."""
        if self.store.get(child.kind, child.name, self.key.namespace):
            return self._cached(child)
        return await self.client.find(child.kind, child.name, self.key.namespace)

    async def _apply_if_due(self, child: Child, live: Object | None) -> None:
        applied = self.memory.applied.get(child.kind)
        if live is None or applied is None or not applied.is_of(live, child.manifest):
            await self._apply(child, live, "changed" if live else "created")
        elif applied.has_drifted(live, child.manifest):
            if pause := applied.pause(self.clock()):
                self.outcome.look_again_in(pause)
                self.outcome.rivals += await self._rivals(child)
                return
            if controller_of(live) is None:
                await self._check_that_it_lives()
            (await self._apply(child, live, "repaired")).note_repair(self.clock())

    async def _apply(self, child: Child, live: Object | None, what: str) -> Applied:
        """An object that seems to be missing may exist by now, and be foreign: then none of its fields are taken."""
        try:
            answer = await self.client.apply(child.kind, child.manifest, force=live is not None)
        except ConflictError as error:
            raise RetryLaterError(f"{child} was created meanwhile: {error.words}") from None
        applied = Applied.of(child.manifest, answer, self.memory.applied.get(child.kind))
        self.memory.applied[child.kind] = applied
        self.overlay.wrote(child.kind, answer)
        logger.info("%s %s", child.kind, what, extra={"key": str(self.key)})
        return applied

    async def _rivals(self, child: Child) -> list[str]:
        """Without force, the API server names the other managers and their fields, and changes nothing."""
        try:
            await self.client.apply(child.kind, child.manifest, force=False)
        except ConflictError as error:
            return [error.words]
        return []

    async def _keep_within(self, bounds: ReplicaBounds) -> None:
        found = self.overlay.get(DEPLOYMENT, bounds.deployment, self.key.namespace)
        if found is None or is_being_deleted(found):
            return
        count = int(found["spec"].get("replicas", 1))
        wanted = min(max(count, bounds.at_least), bounds.at_most)
        if wanted == count:
            return
        scale = await self.client.scale(DEPLOYMENT, bounds.deployment, self.key.namespace, wanted)
        version, replicas = scale["metadata"]["resourceVersion"], scale["spec"].get("replicas", 0)
        metadata = {**found["metadata"], "resourceVersion": version}
        self.overlay.wrote(DEPLOYMENT, {**found, "metadata": metadata, "spec": {**found["spec"], "replicas": replicas}})
        logger.info("Scaled from %d to %d", count, wanted, extra={"key": str(self.key)})

    async def _remove(self, key: ObjectKey) -> None:
        found = self.overlay.get(key.kind, key.name, key.namespace)
        if found and not is_being_deleted(found) and not self._is_foreign(found):
            await self._delete(key, found)
            logger.info("%s deleted", key.kind, extra={"key": str(self.key)})

    async def _delete(self, key: ObjectKey, found: Object) -> None:
        await self.client.delete(key.kind, key.name, key.namespace, only=found)
        self.memory.applied.pop(key.kind, None)
        self.overlay.deleted(key.kind, found)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _cached(self, child: Child) -> Object | None:
        return self.overlay.get(child.kind, child.name, self.key.namespace)

    def _key_of(self, child: Child) -> ObjectKey:
        return ObjectKey(child.kind, self.key.namespace, child.name)

    def _forget(self, key: ObjectKey) -> None:
        self.memory.applied.pop(key.kind, None)
        self.overlay.forget(key)
