"""Starts from zero replicas, as two statuses of an LLMDeployment show that one has ended, and how. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from slipway.api.reasons import State
from slipway.objects.kinds import Object


class WakeResult(StrEnum):
    READY = "ready"
    FAILED = "failed"


def wakes_between(before: Object | None, after: Object) -> Iterator[WakeResult]:
    """`before`: the status that `after` replaces, so that each end is found by the one who writes it, and once."""
    if _last_start(after) and _last_start(after) != _last_start(before or {}):
        yield WakeResult.READY
    earlier = (before or {}).get("state")
    has_failed = after.get("state") == State.FAILED and earlier != State.FAILED
    # KEDA may have removed the replica already: a request that can't be answered keeps none.
    was_started = earlier == State.WAKING or _replicas(after, "desired")
    if has_failed and was_started and not _replicas(before or {}, "ready"):
        yield WakeResult.FAILED


def _last_start(status: Object) -> str:
    """The pod of the last start from zero."""
    return str((status.get("lastColdStart") or {}).get("pod") or "")


def _replicas(status: Object, which: str) -> int:
    return int((status.get("replicas") or {}).get(which) or 0)
