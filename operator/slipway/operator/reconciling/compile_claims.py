"""Makes the claim for compiled code. No other object needs it, so nothing stops where it is refused."""

from __future__ import annotations

import logging

from slipway.api.model_key import ModelKey
from slipway.kube.client import KubeClient
from slipway.kube.errors import ConflictError
from slipway.kube.overlay import Overlay
from slipway.kube.work_queue import RetryLaterError
from slipway.objects.kinds import PERSISTENT_VOLUME_CLAIM, Object
from slipway.objects.metadata import is_being_deleted
from slipway.observing.compile_claim import is_ours
from slipway.operator.reconciling.memory import Applied, ModelMemory
from slipway.operator.reconciling.outcome import Outcome
from slipway.operator.rendering import Child

logger = logging.getLogger(__name__)

GOES_WITHIN = 1.0
OF_OTHERS = "one of this name exists that is not Slipway's"


class CompileClaims:
    def __init__(self, client: KubeClient, overlay: Overlay) -> None:
        self._client, self._overlay = client, overlay

    async def make(self, key: ModelKey, memory: ModelMemory, claim: Child | None, llm_deployment: Object) -> str:
        """Why it was refused; empty: it exists, or none is wanted. What others change of it stays."""
        if claim is None:
            return ""
        live = self._overlay.get(PERSISTENT_VOLUME_CLAIM, claim.name, key.namespace)
        applied = memory.applied.get(PERSISTENT_VOLUME_CLAIM)
        if live and applied and applied.is_of(live, claim.manifest):
            return ""
        live = live or await self._client.find(PERSISTENT_VOLUME_CLAIM, claim.name, key.namespace)
        if live and not is_ours(live, llm_deployment):
            return OF_OTHERS
        if live and is_being_deleted(live):
            raise RetryLaterError(f"{claim} is being deleted, and no watch has reported it yet", after=GOES_WITHIN)
        outcome = Outcome()
        with outcome.noting_refusals(PERSISTENT_VOLUME_CLAIM, claim.name):
            await self._apply(key, memory, claim, live)
        return outcome.refusals[0].message if outcome.refusals else ""

    async def _apply(self, key: ModelKey, memory: ModelMemory, claim: Child, live: Object | None) -> None:
        """Without force where none was seen: it may be another's by now."""
        try:
            answer = await self._client.apply(PERSISTENT_VOLUME_CLAIM, claim.manifest, force=live is not None)
        except ConflictError as error:
            raise RetryLaterError(f"{claim} was created meanwhile: {error.words}") from None
        memory.applied[PERSISTENT_VOLUME_CLAIM] = Applied.of(claim.manifest, answer)
        self._overlay.wrote(PERSISTENT_VOLUME_CLAIM, answer)
        logger.info("%s %s", PERSISTENT_VOLUME_CLAIM, "changed" if live else "created", extra={"key": str(key)})
