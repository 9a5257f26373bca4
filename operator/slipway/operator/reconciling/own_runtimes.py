"""Creates the ClusterServingRuntimes of this release, and deletes unused ones of older releases.

The chart passes them to the operator as files, and installs none itself: KServe replaces all pods of a model when its
runtime changes or is deleted, and helm, kubectl and Argo CD would change, delete or reject the ones that an older
release left. So a runtime's name identifies its contents, none is ever changed, and only the operator owns them (ADR
0017).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from slipway.api.names import RUNTIME_LABEL
from slipway.kube.client import KubeClient
from slipway.kube.errors import KubeError, NotLeaderError
from slipway.kube.store import Store
from slipway.objects.kinds import CLUSTER_SERVING_RUNTIME, INFERENCE_SERVICE, Object

logger = logging.getLogger(__name__)

PARTS = ("predictor", "transformer", "explainer")
CHECK_EVERY = 1.0  # seconds, in the cache
TRY_AGAIN_AFTER = 15.0  # seconds


class OwnRuntimes:
    """`ours`: those of this release, by the names in plans. `keep_unused`: the seconds for which an unused older one
    stays; None: they all stay, because other users of one can't be seen."""

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        *,
        ours: Mapping[str, Object],
        keep_unused: float | None,
        leads: Callable[[], bool],
    ) -> None:
        self._client, self._store, self._leads = client, store, leads
        self._ours = {str(each["metadata"]["name"]): each for each in ours.values()}
        self._keep_unused = keep_unused
        self._unused: frozenset[str] = frozenset()  # at the last check
        self._failed = False  # to create them, the last time

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_making())
            if self._ours and self._keep_unused is not None:
                group.create_task(self._keep_removing(self._keep_unused))

    # --- those of this release ---------------------------------------------------------------------------------------

    async def _keep_making(self) -> None:
        """A failure to create one doesn't stop models that don't need it."""
        while True:
            try:
                await self.make()
                self._failed = False
            except (KubeError, NotLeaderError) as error:
                logger.warning("Not all runtimes of this release could be created: %s", error)
                self._failed = True
            await asyncio.sleep(TRY_AGAIN_AFTER if self._failed else CHECK_EVERY)

    @property
    def are_coming(self) -> bool:
        """Whether one of them is missing, and about to be created. A model that names it earlier would fail for a
        moment, and its clients would be refused."""
        kind = CLUSTER_SERVING_RUNTIME
        if self._failed or self._store.is_missing(kind):
            return False
        return any(self._store.get(kind, name) is None for name in self._ours)

    async def make(self) -> None:
        """Creates those that are missing."""
        kind = CLUSTER_SERVING_RUNTIME
        if not self._leads() or not self._store.is_synced(kind) or self._store.is_missing(kind):
            return
        for name, runtime in self._ours.items():
            if self._store.get(kind, name) is None:
                await self._client.apply(kind, runtime)
                logger.info("ClusterServingRuntime %s created", name)

    # --- those of older ones -----------------------------------------------------------------------------------------

    async def _keep_removing(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            try:
                await self.look()
            except (KubeError, NotLeaderError) as error:
                logger.warning("Could not check the runtimes of older releases: %s", error)

    async def look(self) -> None:
        """Deletes those that were unused at the last check, too."""
        if not self._leads():
            self._unused = frozenset()
            return
        there = self._store.all(CLUSTER_SERVING_RUNTIME)
        old = {str(each["metadata"]["name"]): each for each in there if self._is_old(each)}
        unused = frozenset(old) - await self._used() if old else frozenset()
        for name in sorted(unused & self._unused):
            await self._client.delete(CLUSTER_SERVING_RUNTIME, name, only=old[name])
            logger.info("ClusterServingRuntime %s deleted: it is from an older release and unused", name)
        self._unused = unused

    def _is_old(self, runtime: Object) -> bool:
        metadata = runtime["metadata"]
        of_a_release = is_of_a_release(metadata["name"], (metadata.get("labels") or {}).get(RUNTIME_LABEL, ""))
        return of_a_release and metadata["name"] not in self._ours and "deletionTimestamp" not in metadata

    async def _used(self) -> frozenset[str]:
        """Also by InferenceServices that others created."""
        found = await self._client.list(INFERENCE_SERVICE, keep=runtimes_of)
        return frozenset(name for each in found for name in each["runtimes"])


def is_of_a_release(name: str, engine: str) -> bool:
    """Whether it is named as the chart names them. A copy made by a user has the labels, but not such a name."""
    return bool(engine) and re.fullmatch(rf"{re.escape(engine)}-[0-9][0-9A-Za-z.+-]*-[0-9a-f]{{8}}", name) is not None


def runtimes_of(inference_service: Object) -> Object:
    """Their names."""
    spec, status = inference_service.get("spec") or {}, inference_service.get("status") or {}
    models: list[Any] = [(spec.get(part) or {}).get("model") or {} for part in PARTS]
    named = [model.get("runtime") for model in models]
    return {"runtimes": [name for name in (*named, status.get("clusterServingRuntimeName")) if name]}
