"""Writes the status when it says something new, and reports changes: as an event for people, and as a log line."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from slipway.api.model_key import ModelKey
from slipway.api.reasons import ConditionType
from slipway.contract.runbooks import NO_RUNBOOKS, Runbooks
from slipway.kube.client import KubeClient
from slipway.kube.errors import NotFoundError
from slipway.kube.events import NOTE_LIMIT, EventRecorder
from slipway.kube.overlay import Overlay
from slipway.objects.conditions import condition
from slipway.objects.kinds import LLM_DEPLOYMENT, Object
from slipway.observing.events import events_between, with_runbook
from slipway.observing.giving_up import CACHES, given_up_in
from slipway.observing.snapshot import Snapshot
from slipway.observing.status import same
from slipway.observing.wakes import wakes_between
from slipway.operator.reconciling.memory import ModelMemory

logger = logging.getLogger(__name__)

FIELDS_REVERTED = "FieldsFoughtOver"
PAUSE = 1.0
"""Seconds between two statuses that differ only in words and numbers: these change fast while a pod starts."""


class Reporter:
    """`clock` is monotonic."""

    def __init__(
        self,
        client: KubeClient,
        events: EventRecorder,
        overlay: Overlay,
        runbooks: Runbooks = NO_RUNBOOKS,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._events, self._overlay, self._clock = client, events, overlay, clock
        self._runbooks = runbooks

    async def report(self, key: ModelKey, memory: ModelMemory, snapshot: Snapshot, status: Object) -> float | None:
        """The seconds after which to reconcile again, if the write can wait."""
        status = with_runbook(status, self._runbooks)
        memory.state, memory.caches = _in_two_words(status), _caches(status)
        if not same(snapshot.status, status):
            wait = memory.status_written_at + PAUSE - self._clock()
            if _is_alike(snapshot, status) and wait > 0:
                return wait
            if not memory.unreported:
                memory.unreported, memory.reported = True, snapshot.status
            try:
                await self._write(key, memory, snapshot, status)
            except NotFoundError:  # it was deleted meanwhile: events about it are of no use
                memory.unreported, memory.reported, memory.state, memory.caches = False, None, None, {}
        if memory.unreported:
            before, memory.unreported, memory.reported = memory.reported, False, None
            memory.counts.woken(wakes_between(before, status), snapshot.now)
            await self._record(key, snapshot, before, status)
        return None

    async def report_rivals(self, snapshot: Snapshot, rivals: list[str]) -> None:
        for words in rivals:
            note = f"Another program reverts fields that Slipway has set, so Slipway waits a minute: {words}"
            await self._events.record(snapshot.llm_deployment, FIELDS_REVERTED, note, warning=True)

    async def _write(self, key: ModelKey, memory: ModelMemory, snapshot: Snapshot, status: Object) -> None:
        """With the resourceVersion that was read: a successor of the same name has a status of its own. (The API server
        doesn't refuse a wrong uid.)"""
        seen = snapshot.llm_deployment["metadata"]
        manifest = {
            "apiVersion": LLM_DEPLOYMENT.api_version,
            "kind": LLM_DEPLOYMENT.name,
            "metadata": {"name": key.name, "namespace": key.namespace, "resourceVersion": seen["resourceVersion"]},
            "status": status,
        }
        self._overlay.wrote(LLM_DEPLOYMENT, await self._client.apply_status(LLM_DEPLOYMENT, manifest))
        memory.status_written_at = self._clock()

    async def _record(self, key: ModelKey, snapshot: Snapshot, before: Object | None, status: Object) -> None:
        for notice in events_between(before, status):
            is_warning = notice.type == "Warning"
            logger.log(
                logging.WARNING if is_warning else logging.INFO,
                "%s: %s",
                _change_of_state(before, status),
                notice.message,
                extra={"key": str(key), "reason": notice.reason},
            )
            note = self._runbooks.linked(notice.message, notice.reason, most=NOTE_LIMIT)
            await self._events.record(snapshot.llm_deployment, notice.reason, note, warning=is_warning)


def _is_alike(snapshot: Snapshot, status: Object) -> bool:
    """Whether programs would treat both statuses the same."""
    return bool(snapshot.status and _for_programs(snapshot.status) == _for_programs(status))


def _in_two_words(status: Object) -> tuple[str, str]:
    """The state, and the reason of Ready. Interned: the same few strings for all LLMDeployments."""
    ready = condition({"status": status}, ConditionType.READY) or {}
    return sys.intern(status.get("state", "")), sys.intern(ready.get("reason", ""))


def _caches(status: Object) -> dict[str, tuple[str, str]]:
    """Where each is kept, and why its claim was given up, if it was."""
    found = {cache: status.get(cache) or {} for cache in CACHES}
    return {
        cache: (sys.intern(each["kind"]), sys.intern((each.get("givenUp") or {}).get("reason", "")))
        for cache, each in found.items()
        if each.get("kind")
    }


def _for_programs(status: Object) -> tuple[Any, ...]:
    conditions = [(each["type"], each["status"]) for each in status.get("conditions") or []]
    given_up = [(given_up_in(status, cache) or {}).get("at") for cache in CACHES]
    return status.get("state"), status.get("observedGeneration"), status.get("url"), given_up, sorted(conditions)


def _change_of_state(previous: Object | None, status: Object) -> str:
    before, now = (previous or {}).get("state", "new"), status["state"]
    return f"{before} → {now}" if before != now else f"still {now}"
