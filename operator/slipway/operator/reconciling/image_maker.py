"""Starts and removes the Jobs that make images of models' files, and looks up why one is late.

As for inspections, a failure here never stops the reconcile of its model.
"""

from __future__ import annotations

from dataclasses import replace

from slipway.api.model_key import ModelKey
from slipway.kube.client import KubeClient
from slipway.kube.overlay import Overlay
from slipway.observing.cause import Cause
from slipway.observing.snapshot import Snapshot
from slipway.operator.installation import Fetcher
from slipway.operator.reconciling.deciding import Decision
from slipway.operator.reconciling.jobs import JobWriter, Places
from slipway.operator.reconciling.memory import ModelMemory
from slipway.operator.rendering.image_job import account_of, image_job
from slipway.operator.rendering.inspection import SERVICE_ACCOUNT_NAME

MOST_AT_A_TIME = 2  # Jobs of one namespace: each fills a node's disk and network
UNTIL_ONE_ENDS = 60.0  # seconds


class ImageMaker:
    """`fetcher`: None where KServe fetches models, so that no Job can."""

    def __init__(self, client: KubeClient, overlay: Overlay, fetcher: Fetcher | None) -> None:
        self._jobs, self._fetcher = JobWriter(client, overlay), fetcher
        self.places = Places(MOST_AT_A_TIME)

    async def looked_up(self, snapshot: Snapshot) -> Snapshot:
        """With the events about a Job that is late."""
        return replace(snapshot, imaging=await self._jobs.with_events(snapshot.imaging, snapshot.now))

    async def carry_out(
        self, key: ModelKey, memory: ModelMemory, decision: Decision
    ) -> tuple[Cause | None, float | None]:
        """Why the Job couldn't be created; and the seconds until it may be, if it can't be created yet."""
        imaging, inference_service = decision.imaging, decision.inference_service
        for job in imaging.remove:
            await self._jobs.remove(key, job)
        order, deployment = imaging.start, decision.deployment
        if not (order and deployment and inference_service and self._fetcher):
            (self.places.take if imaging.is_running else self.places.leave)(key)
            return None, None
        if not self.places.is_free(key):
            return None, UNTIL_ONE_ENDS
        self.places.take(key)
        memory.image_job = order.name
        made = image_job(deployment, inference_service, self._fetcher, name=order.name, identity=order.identity)
        does = "makes an image of the model's files"
        if account_of(deployment.spec) == SERVICE_ACCOUNT_NAME:
            return await self._jobs.create_as(SERVICE_ACCOUNT_NAME, key, made, does), None
        return await self._jobs.create(key, made, does), None

    def forget(self, key: ModelKey) -> None:
        """The model is gone, and its Job with it."""
        self.places.leave(key)

    def start_over(self) -> None:
        """Another replica has led meanwhile."""
        self.places.start_over()
