"""Removes the ClusterServingRuntimes of older releases, once no InferenceService uses them any more.

The chart leaves them behind, because models stay with the runtime that they have until they are asked to change it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Collection
from typing import Any

from slipway.api.names import RUNTIME_LABEL
from slipway.kube.client import KubeClient
from slipway.kube.errors import KubeError, NotLeaderError
from slipway.kube.kinds import CLUSTER_SERVING_RUNTIME, INFERENCE_SERVICE, Object
from slipway.kube.store import Store

logger = logging.getLogger(__name__)

PARTS = ("predictor", "transformer", "explainer")


class OldRuntimes:
    """`current`: those of this release; none: nobody has said which they are. `keep`: seconds that one stays which
    nobody uses.
    """

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        *,
        current: Collection[str],
        keep: float,
        leads: Callable[[], bool],
    ) -> None:
        self._client, self._store, self._leads = client, store, leads
        self._current, self._keep = frozenset(current), keep
        self._unused: frozenset[str] = frozenset()  # when it was looked the last time

    async def run(self) -> None:
        """What keeps it from looking once keeps nobody's model from anything."""
        while True:
            await asyncio.sleep(self._keep)
            try:
                await self.look()
            except (KubeError, NotLeaderError) as error:
                logger.warning("Runtimes of older releases are not looked through: %s", error)

    async def look(self) -> None:
        """One goes that nobody used the last time either."""
        if not (self._current and self._leads()):
            self._unused = frozenset()
            return
        there = self._store.all(CLUSTER_SERVING_RUNTIME)
        old = {str(each["metadata"]["name"]): each for each in there if self._is_old(each)}
        unused = frozenset(old) - await self._used() if old else frozenset()
        for name in sorted(unused & self._unused):
            await self._client.delete(CLUSTER_SERVING_RUNTIME, name, only=old[name])
            logger.info("ClusterServingRuntime %s deleted: it is an older release's, and nobody uses it", name)
        self._unused = unused

    def _is_old(self, runtime: Object) -> bool:
        metadata = runtime["metadata"]
        of_a_release = is_of_a_release(metadata["name"], (metadata.get("labels") or {}).get(RUNTIME_LABEL, ""))
        return of_a_release and metadata["name"] not in self._current and "deletionTimestamp" not in metadata

    async def _used(self) -> frozenset[str]:
        """By anybody: people make InferenceServices themselves, too."""
        found = await self._client.list(INFERENCE_SERVICE, keep=runtimes_of)
        return frozenset(name for each in found for name in each["runtimes"])


def is_of_a_release(name: str, engine: str) -> bool:
    """Named as the chart names them. A copy that somebody has made of one has its labels, but not such a name."""
    return bool(engine) and re.fullmatch(rf"{re.escape(engine)}-[0-9][0-9A-Za-z.+-]*-[0-9a-f]{{8}}", name) is not None


def runtimes_of(inference_service: Object) -> Object:
    """Their names."""
    spec, status = inference_service.get("spec") or {}, inference_service.get("status") or {}
    models: list[Any] = [(spec.get(part) or {}).get("model") or {} for part in PARTS]
    named = [model.get("runtime") for model in models]
    return {"runtimes": [name for name in (*named, status.get("clusterServingRuntimeName")) if name]}
