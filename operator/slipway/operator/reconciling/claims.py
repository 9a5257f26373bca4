"""Makes and removes the claims of a model's caches. Nothing stops where one is refused that the spec doesn't demand."""

from __future__ import annotations

import logging
from contextlib import suppress

from slipway.api.model_key import ModelKey
from slipway.kube.client import KubeClient
from slipway.kube.errors import ConflictError
from slipway.kube.overlay import Overlay
from slipway.kube.work_queue import RetryLaterError
from slipway.objects.kinds import PERSISTENT_VOLUME_CLAIM, Object, ObjectKey
from slipway.objects.metadata import is_being_deleted
from slipway.observing.cache_claim import is_ours
from slipway.operator.reconciling.memory import ModelMemory, projected
from slipway.operator.reconciling.outcome import Outcome
from slipway.operator.rendering import Child

logger = logging.getLogger(__name__)

OF_OTHERS = "one of this name exists that is not Slipway's"


class Claims:
    def __init__(self, client: KubeClient, overlay: Overlay) -> None:
        self._client, self._overlay = client, overlay

    async def make(self, key: ModelKey, memory: ModelMemory, claim: Child, llm_deployment: Object) -> str:
        """Why it was refused; empty: it exists. What others change of it stays."""
        live = self._overlay.get(PERSISTENT_VOLUME_CLAIM, claim.name, key.namespace)
        live = live or await self._client.find(PERSISTENT_VOLUME_CLAIM, claim.name, key.namespace)
        if live and not is_ours(live, llm_deployment):
            return OF_OTHERS
        if live and is_being_deleted(live):
            return ""  # the watch reports it, and later its end
        wanted = claim.manifest["spec"]
        if live and (projected(live.get("spec"), wanted) == wanted or memory.refused_claims.get(claim.name) == wanted):
            return ""
        outcome = Outcome()
        with outcome.noting_refusals(PERSISTENT_VOLUME_CLAIM, claim.name):
            await self._apply(key, claim, live)
        if not outcome.refusals:
            return ""
        if live:  # it stays as it is
            memory.refused_claims[claim.name] = wanted
            logger.warning("%s stays as it is: %s", claim, outcome.refusals[0].message, extra={"key": str(key)})
            return ""
        return outcome.refusals[0].message

    async def remove(self, key: ModelKey, memory: ModelMemory, unused: ObjectKey) -> None:
        """Where it may not be deleted, it stays until the LLMDeployment is deleted; nothing else depends on that.
        If it has just changed, the next reconcile deletes it."""
        found = self._overlay.get(unused.kind, unused.name, unused.namespace)
        if not found or is_being_deleted(found) or memory.refused_claims.get(unused.name) == unused:
            return
        outcome = Outcome()
        with suppress(ConflictError), outcome.noting_refusals(unused.kind, unused.name):
            await self._client.delete(unused.kind, unused.name, unused.namespace, only=found)
            self._overlay.deleted(unused.kind, found)
            logger.info("%s deleted", unused.kind, extra={"key": str(key)})
        if outcome.refusals:
            memory.refused_claims[unused.name] = unused
            logger.warning("%s can't be deleted: %s", unused, outcome.refusals[0].message, extra={"key": str(key)})

    async def _apply(self, key: ModelKey, claim: Child, live: Object | None) -> None:
        """Without force where none was seen: it may be another's by now."""
        try:
            answer = await self._client.apply(PERSISTENT_VOLUME_CLAIM, claim.manifest, force=live is not None)
        except ConflictError as error:
            raise RetryLaterError(f"{claim} was created meanwhile: {error.words}") from None
        self._overlay.wrote(PERSISTENT_VOLUME_CLAIM, answer)
        logger.info("%s %s", PERSISTENT_VOLUME_CLAIM, "changed" if live else "created", extra={"key": str(key)})
