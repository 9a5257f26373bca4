"""Writes the status, when it says something new, and tells of changes: an event for people, a line in the log."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from slipway.api.reasons import ConditionType
from slipway.kube.client import KubeClient
from slipway.kube.errors import NotFoundError
from slipway.kube.events import EventRecorder
from slipway.kube.kinds import LLM_DEPLOYMENT, Object
from slipway.observing.events import events_between
from slipway.observing.status import same
from slipway.observing.world import condition
from slipway.operator.reconciling.key import Key
from slipway.operator.reconciling.ledger import Ledger
from slipway.operator.reconciling.sight import Sight

logger = logging.getLogger(__name__)

FIGHT = "FieldsFoughtOver"
PAUSE = 1.0
"""Seconds between two statuses that differ in words and numbers alone: while a pod starts, they change quickly."""


class Reporter:
    """`clock` is monotonic."""

    def __init__(
        self,
        client: KubeClient,
        events: EventRecorder,
        ledger: Ledger,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._events, self._ledger, self._clock = client, events, ledger, clock
        self._written_at: dict[Key, float] = {}
        self._states: dict[Key, tuple[str, str]] = {}
        self._told: dict[Key, Object | None] = {}  # the last that people were told, where a write's answer is missing

    async def tell(self, key: Key, sight: Sight, status: Object) -> float | None:
        """The seconds after which to look again, where it can wait."""
        self._states[key] = _in_two_words(status)
        if not same(sight.previous, status):
            if _is_alike(sight, status) and (wait := self._written_at.get(key, 0.0) + PAUSE - self._clock()) > 0:
                return wait
            self._told.setdefault(key, sight.previous)
            try:
                await self._write(key, sight, status)
            except NotFoundError:  # it has been deleted meanwhile
                self.forget(key)
        if key in self._told:
            await self._tell_people(key, sight, self._told.pop(key), status)
        return None

    def forget(self, key: Key) -> None:
        """It is gone, and nobody wants to hear of it."""
        self._told.pop(key, None)
        self._written_at.pop(key, None)
        self._states.pop(key, None)

    def by_state(self) -> Counter[tuple[str, ...]]:
        """How many there are of each state and reason, as they were last found."""
        return Counter(self._states.values())

    async def _write(self, key: Key, sight: Sight, status: Object) -> None:
        """If it is as it was seen: a successor of that name has a status of its own. (A wrong uid is not refused.)"""
        seen = sight.raw["metadata"]
        thing = {
            "apiVersion": LLM_DEPLOYMENT.api_version,
            "kind": LLM_DEPLOYMENT.name,
            "metadata": {"name": key.name, "namespace": key.namespace, "resourceVersion": seen["resourceVersion"]},
            "status": status,
        }
        result = await self._client.apply_status(thing)
        self._ledger.note(LLM_DEPLOYMENT, key, thing, result)
        self._written_at[key] = self._clock()

    async def tell_of_rivals(self, sight: Sight, rivals: list[str]) -> None:
        for words in rivals:
            note = f"Somebody changes fields back that Slipway has set, so it waits a minute: {words}"
            await self._events.record(sight.raw, FIGHT, note, warning=True)

    async def _tell_people(self, key: Key, sight: Sight, before: Object | None, status: Object) -> None:
        for notice in events_between(before, status):
            is_warning = notice.type == "Warning"
            logger.log(
                logging.WARNING if is_warning else logging.INFO,
                "%s: %s",
                _way(before, status),
                notice.message,
                extra={"key": str(key), "reason": notice.reason},
            )
            await self._events.record(sight.raw, notice.reason, notice.message, warning=is_warning)


def _is_alike(sight: Sight, status: Object) -> bool:
    """Whether programs would do the same."""
    return bool(sight.previous and _for_programs(sight.previous) == _for_programs(status))


def _in_two_words(status: Object) -> tuple[str, str]:
    """The state, and why it is ready or isn't; the words are the same objects for all."""
    ready = condition({"status": status}, ConditionType.READY) or {}
    return sys.intern(status.get("state", "")), sys.intern(ready.get("reason", ""))


def _for_programs(status: Object) -> tuple[Any, ...]:
    conditions = [(each["type"], each["status"]) for each in status.get("conditions") or []]
    return status.get("state"), status.get("observedGeneration"), status.get("url"), sorted(conditions)


def _way(previous: Object | None, status: Object) -> str:
    before, now = (previous or {}).get("state", "new"), status["state"]
    return f"{before} → {now}" if before != now else f"still {now}"
