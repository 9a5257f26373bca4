"""Conditions as Kubernetes defines them: always all of them, and a new time only when the status changes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from slipway.api.reasons import ConditionType
from slipway.objects.kinds import Object


class Conditions:
    """The conditions of one status while it is being written, based on the previous ones."""

    def __init__(self, previous: Iterable[Object], *, generation: int, now: datetime) -> None:
        self._now = f"{now:%Y-%m-%dT%H:%M:%SZ}"
        self._generation = generation
        self._before = {condition["type"]: condition for condition in previous}
        self._set: dict[ConditionType, Object] = {}

    def set(self, kind: ConditionType, holds: bool | None, reason: str, message: str) -> None:
        """`holds`: None means Unknown."""
        status = "Unknown" if holds is None else str(holds)
        before = self._before.get(kind, {})
        since = before["lastTransitionTime"] if before.get("status") == status else self._now
        self._set[kind] = {
            "type": str(kind),
            "status": status,
            "reason": str(reason),
            "message": message,
            "lastTransitionTime": since,
            "observedGeneration": self._generation,
        }

    def as_list(self) -> list[Object]:
        """In the order of their definition."""
        return [self._set[kind] for kind in ConditionType if kind in self._set]
