"""Starts and removes the Jobs that push images of compiled code, and looks up why one is late.

As for inspections, a failure here never stops the reconcile of its model.
"""

from __future__ import annotations

from dataclasses import replace

from slipway.api.model_key import ModelKey
from slipway.kube.client import KubeClient
from slipway.kube.overlay import Overlay
from slipway.objects.kinds import DEPLOYMENT, INFERENCE_SERVICE, Object
from slipway.objects.metadata import controller_of, uid_of
from slipway.observing.cause import Cause
from slipway.observing.snapshot import Snapshot
from slipway.operator.reconciling.deciding import Decision
from slipway.operator.reconciling.jobs import JobWriter, Places
from slipway.operator.reconciling.memory import ModelMemory
from slipway.operator.rendering.compile_job import compile_job, is_made_of
from slipway.operator.rendering.scaling import predictor_deployment

UNTIL_MADE = 5.0  # seconds until KServe has made its Deployment from what was applied
MOST_AT_A_TIME = 2  # Jobs of one namespace: each occupies an accelerator for minutes
UNTIL_ONE_ENDS = 60.0


class Pusher:
    def __init__(self, client: KubeClient, overlay: Overlay) -> None:
        self._client, self._jobs = client, JobWriter(client, overlay)
        self.places = Places(MOST_AT_A_TIME)

    async def looked_up(self, snapshot: Snapshot) -> Snapshot:
        """With the events about a Job that is late."""
        return replace(snapshot, compilation=await self._jobs.with_events(snapshot.compilation, snapshot.now))

    async def carry_out(
        self, key: ModelKey, memory: ModelMemory, decision: Decision
    ) -> tuple[Cause | None, float | None]:
        """Why the Job couldn't be created; and the seconds until it may be, if it can't be created yet."""
        pushing = decision.pushing
        for job in pushing.remove:
            await self._jobs.remove(key, job)
        if pushing.start is None or decision.deployment is None:
            (self.places.take if pushing.is_running else self.places.leave)(key)
            return None, None
        if not self.places.is_free(key):
            return None, UNTIL_ONE_ENDS
        template = await self._template(key, decision)
        if template is None:
            return None, UNTIL_MADE
        self.places.take(key)
        order = pushing.start
        memory.compile_job = order.name
        made = compile_job(decision.deployment, template, name=order.name, identity=order.identity)
        return await self._jobs.create(key, made, "compiles for an image"), None

    def forget(self, key: ModelKey) -> None:
        """The model is gone, and its Job with it."""
        self.places.leave(key)

    def start_over(self) -> None:
        """Another replica has led meanwhile."""
        self.places.start_over()

    async def _template(self, key: ModelKey, decision: Decision) -> Object | None:
        """Of the pods of KServe's own Deployment; None: it isn't as it will be yet."""
        wanted = decision.inference_service
        live = await self._client.find(INFERENCE_SERVICE, key.name, key.namespace)
        found = await self._client.find(DEPLOYMENT, predictor_deployment(key.name), key.namespace)
        if wanted is None or live is None or found is None:
            return None
        if (controller_of(found) or {}).get("uid") != uid_of(live):
            return None  # a tenant's own
        template: Object = found["spec"]["template"]
        return template if is_made_of(template, wanted) else None
