"""Creates and removes Jobs of ours, and reads the events about them.

A Job is created once and never changed, so it isn't applied as the other children are.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime

from slipway.api.model_key import ModelKey
from slipway.api.names import MANAGED_BY, MANAGED_BY_LABEL
from slipway.api.reasons import Reason
from slipway.kube.client import KubeClient
from slipway.kube.errors import ConflictError, ForbiddenError, InvalidError, KubeError, NamespaceGoesError
from slipway.kube.overlay import Overlay
from slipway.objects.kinds import CORE_EVENT, JOB, SERVICE_ACCOUNT, Object
from slipway.objects.metadata import controller_of, name_of
from slipway.observing import words
from slipway.observing.cause import Cause
from slipway.observing.causes import REFUSALS
from slipway.observing.image_push import is_late
from slipway.observing.jobs import newest_pod
from slipway.observing.snapshot import SeenJobs
from slipway.operator.rendering import Child

logger = logging.getLogger(__name__)

MOST_OF_EVENTS = 1 << 20  # bytes


class Places:
    """How many Jobs of one kind run in a namespace at a time: each model has at most one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[str, set[ModelKey]] = {}  # by namespace

    def is_free(self, key: ModelKey) -> bool:
        return len(self._taken.get(key.namespace, set()) - {key}) < self._most

    def take(self, key: ModelKey) -> None:
        self._taken.setdefault(key.namespace, set()).add(key)

    def leave(self, key: ModelKey) -> None:
        self._taken.get(key.namespace, set()).discard(key)

    def taken_in(self, namespace: str) -> frozenset[ModelKey]:
        return frozenset(self._taken.get(namespace, ()))

    def start_over(self) -> None:
        """Another replica has led meanwhile."""
        self._taken.clear()


class JobWriter:
    def __init__(self, client: KubeClient, overlay: Overlay) -> None:
        self._client, self._overlay = client, overlay

    async def create(self, key: ModelKey, job: Child, what_for: str) -> Cause | None:
        """Returns why it couldn't be created. `what_for`: the verb and object of a sentence about it."""
        try:
            self._overlay.wrote(JOB, await self._client.create(JOB, job.manifest))
            logger.info("Job %s %s", job.name, what_for, extra={"key": str(key)})
        except ConflictError:
            return await self._check_whose(key, job)
        except NamespaceGoesError:
            raise
        except (ForbiddenError, InvalidError) as error:
            return refusal(job, error)
        return None

    async def create_as(self, account: str, key: ModelKey, job: Child, what_for: str) -> Cause | None:
        """The same, as a ServiceAccount without rights, which is created where it doesn't exist."""
        try:
            await self._ensure_account(account, key.namespace)
        except NamespaceGoesError:
            raise
        except (ForbiddenError, InvalidError) as error:
            return refusal(job, error)
        return await self.create(key, job, what_for)

    async def remove(self, key: ModelKey, job: Object) -> None:
        try:
            await self._client.delete(JOB, name_of(job), key.namespace, only=job)
        except ConflictError:
            return  # its status has just changed, and the next reconcile sees it
        except ForbiddenError as error:
            logger.warning("Job %s/%s stays until it expires: %s", key.namespace, name_of(job), error)
            return
        self._overlay.deleted(JOB, job)

    async def with_events(self, seen: SeenJobs | None, now: datetime) -> SeenJobs | None:
        """Of Jobs that push images: with the events about the first that is late, and about its newest pod."""
        job = next((each for each in seen.jobs.values() if is_late(each, seen, now)), None) if seen else None
        if seen is None or job is None:
            return seen
        return replace(seen, events=await self.events(job, *newest_pod(job, seen)))

    async def events(self, *about: Object) -> tuple[Object, ...]:
        """Those about Jobs aren't watched."""
        return tuple([event for each in about for event in await self._events(each)])

    async def _ensure_account(self, name: str, namespace: str) -> None:
        """The chart creates it in the namespaces that it lists; in others, it is created when it is first needed."""
        if await self._client.exists(SERVICE_ACCOUNT, name, namespace):
            return
        account: Object = {
            "apiVersion": SERVICE_ACCOUNT.api_version,
            "kind": SERVICE_ACCOUNT.name,
            "metadata": {"name": name, "namespace": namespace, "labels": {MANAGED_BY_LABEL: MANAGED_BY}},
            "automountServiceAccountToken": False,
        }
        try:
            await self._client.create(SERVICE_ACCOUNT, account)
        except ConflictError:  # another model needed it at the same moment
            return
        logger.info("ServiceAccount %s created in namespace %s", name, namespace)

    async def _check_whose(self, key: ModelKey, job: Child) -> Cause | None:
        """One of that name exists: ours, which no watch has reported yet, or another owner's."""
        found = await self._client.find(JOB, job.name, key.namespace)
        owners = job.manifest["metadata"]["ownerReferences"]
        if found is None or (controller_of(found) or {}).get("uid") == owners[0]["uid"]:
            if found:
                self._overlay.wrote(JOB, found)
            return None
        message = f"Job {job.name} exists already and belongs to another owner: delete it, or rename this model"
        return Cause(Reason.NAME_TAKEN, message, final=True)

    async def _events(self, about: Object) -> list[Object]:
        kind, name = about.get("kind", ""), name_of(about)
        selector = f"involvedObject.kind={kind},involvedObject.name={name}"
        namespace = about["metadata"]["namespace"]
        try:
            return await self._client.list(CORE_EVENT, namespace, field_selector=selector, at_most=MOST_OF_EVENTS)
        except KubeError as error:
            logger.warning("The events about %s %s/%s can't be read: %s", kind, namespace, name, error)
            return []


def refusal(job: Child, error: KubeError) -> Cause:
    said = words.explain(error.words, REFUSALS)
    reason = said.reason if said else Reason.API_ERROR
    return Cause(reason, f"Job {job.name} was refused: {words.unwrapped(error.words)}", final=reason.is_final)
