"""Starts and removes the Jobs that read models' files, and looks up why one is late.

A failure here never stops the reconcile of its model: it is part of the record, and tried again with pauses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from slipway.api.model_key import ModelKey
from slipway.api.reasons import Reason
from slipway.kube.client import KubeClient
from slipway.kube.overlay import Overlay
from slipway.observing.cause import Cause
from slipway.observing.inspection import is_late
from slipway.observing.jobs import newest_pod
from slipway.observing.snapshot import Snapshot
from slipway.operator.reconciling.inspections import MOST_AT_A_TIME, Inspecting, job_in_use
from slipway.operator.reconciling.jobs import JobWriter
from slipway.operator.reconciling.memory import ModelMemory
from slipway.operator.rendering.inspection import SERVICE_ACCOUNT_NAME

CORRECTED_AFTER = 60.0  # seconds, and one for each inspection before it: how many these are is in the status
SOON = 1.0  # seconds until a model is reconciled again whose place another has taken meanwhile


class Inspector:
    """`add`: queues a model. `being_read`: returns the models of a namespace that have a Job, as the cache has them."""

    def __init__(
        self,
        client: KubeClient,
        overlay: Overlay,
        add: Callable[[ModelKey], object] = lambda _: None,
        being_read: Callable[[str], set[ModelKey]] = lambda _: set(),
    ) -> None:
        self._jobs, self._add, self._being_read = JobWriter(client, overlay), add, being_read
        self._waiting: dict[str, dict[ModelKey, None]] = {}  # by namespace, in their order
        self._read: dict[str, set[ModelKey]] = {}  # by namespace, the models that have a Job

    async def looked_up(self, key: ModelKey, snapshot: Snapshot) -> Snapshot:
        """With how many models are before it, and the events about the Job that reads the files now, and about its
        newest pod, if it is late: those about Jobs aren't watched."""
        seen = snapshot.inspection
        if seen is None:
            return snapshot
        seen = replace(seen, ahead=self._ahead(key))
        snapshot = replace(snapshot, inspection=seen)
        if not any(is_late(each, snapshot) for each in seen.jobs.values()):
            return snapshot
        job = job_in_use(snapshot)
        if job is None or not is_late(job, snapshot):
            return snapshot
        events = await self._jobs.events(job, *newest_pod(job, seen))
        return replace(snapshot, inspection=replace(seen, events=events))

    async def carry_out(
        self, key: ModelKey, memory: ModelMemory, inspecting: Inspecting
    ) -> tuple[Cause | None, float | None]:
        """Why the Job couldn't be created; and the seconds until the next reconcile, if it waits for its place."""
        for job in inspecting.remove:
            await self._jobs.remove(key, job)
        is_late = inspecting.start is not None and self._ahead(key) > 0
        if inspecting.ahead or is_late:
            self._waiting.setdefault(key.namespace, {}).setdefault(key)
            self._count(key, is_read=False)
            return None, SOON if is_late else CORRECTED_AFTER + inspecting.ahead
        self._waits_no_longer(key)
        if inspecting.start is None:
            self._count(key, is_read=bool(inspecting.cause and inspecting.cause.reason == Reason.READING_MODEL))
            return None, None
        self._count(key, is_read=True)
        memory.inspection_job = inspecting.start.name
        started = await self._jobs.create_as(SERVICE_ACCOUNT_NAME, key, inspecting.start, "reads the model's files")
        return started, None

    def forget(self, key: ModelKey) -> None:
        """The model is gone, and its Job with it."""
        self._waits_no_longer(key)
        self._count(key, is_read=False)

    def start_over(self) -> None:
        """Another replica has led meanwhile."""
        self._read.clear()
        self._waiting.clear()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _ahead(self, key: ModelKey) -> int:
        """How many are before it, if there is no place for it."""
        others = len(self._read_in(key.namespace) - {key})
        if others < MOST_AT_A_TIME:
            return 0
        waiting = list(self._waiting.get(key.namespace, ()))
        return others + (waiting.index(key) if key in waiting else len(waiting))

    def _read_in(self, namespace: str) -> set[ModelKey]:
        """After a restart, the Jobs that are there take their places again."""
        if namespace not in self._read:
            self._read[namespace] = self._being_read(namespace)
        return self._read[namespace]

    def _count(self, key: ModelKey, *, is_read: bool) -> None:
        models = self._read_in(key.namespace)
        (models.add if is_read else models.discard)(key)
        waiting = self._waiting.get(key.namespace, {})
        for _, each in zip(range(MOST_AT_A_TIME - len(models)), waiting, strict=False):
            self._add(each)

    def _waits_no_longer(self, key: ModelKey) -> None:
        waiting = self._waiting.get(key.namespace, {})
        waiting.pop(key, None)
        if not waiting:
            self._waiting.pop(key.namespace, None)
