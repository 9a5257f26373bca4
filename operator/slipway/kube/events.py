"""Events on objects: what `kubectl describe` shows. One reason is recorded once in a while, however often it happens.

Events are for people, so nothing depends on them: one that can't be written is logged and dropped.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from slipway.kube.client import KubeClient
from slipway.kube.errors import ConflictError, KubeError, NamespaceGoesError, NotLeaderError
from slipway.objects.kinds import EVENT, Object

logger = logging.getLogger(__name__)

NOTE_LIMIT = 1024  # bytes of UTF-8: the API server counts bytes, not characters
NAME_LIMIT = 200


class EventRecorder:
    """Lives as long as the process. `controller` and `instance`: the program and the replica that report the events."""

    def __init__(
        self,
        client: KubeClient,
        *,
        controller: str,
        instance: str,
        quiet_for: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`quiet_for`: the seconds in which the same reason on the same object is not recorded again."""
        self._client, self._quiet_for = client, quiet_for
        self._controller, self._instance = controller, instance
        self._clock, self._now = clock, now
        self._recorded: dict[tuple[str, str], float] = {}

    async def record(
        self, regarding: Object, reason: str, note: str, *, action: str = "Reconcile", warning: bool = False
    ) -> bool:
        """False if it was recorded a short time ago, or could not be recorded."""
        if not self._is_due(regarding["metadata"]["uid"], reason):
            return False
        event = self._event(regarding, reason, note, action, "Warning" if warning else "Normal")
        try:
            await self._client.create(EVENT, event)
        except ConflictError:
            pass  # an earlier try has landed
        except NamespaceGoesError:
            return False
        except (KubeError, NotLeaderError) as error:
            logger.warning("Event %s is not recorded: %s", reason, error)
            return False
        return True

    def _is_due(self, uid: str, reason: str) -> bool:
        now = self._clock()
        self._forget_until(now - self._quiet_for)
        is_new = (uid, reason) not in self._recorded
        if is_new:
            self._recorded[uid, reason] = now
        return is_new

    def _forget_until(self, moment: float) -> None:
        """They are in the order of their times."""
        while self._recorded and self._recorded[oldest := next(iter(self._recorded))] <= moment:
            del self._recorded[oldest]

    def _event(self, regarding: Object, reason: str, note: str, action: str, type_: str) -> Object:
        metadata, now = regarding["metadata"], self._now()
        unique = hashlib.sha256(f"{metadata['uid']} {reason} {now.isoformat()}".encode()).hexdigest()[:16]
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            "metadata": {
                "name": f"{metadata['name'][:NAME_LIMIT]}.{unique}",
                "namespace": metadata.get("namespace", "default"),
            },
            "eventTime": micro_time(now),
            "regarding": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "name": metadata["name"],
                "namespace": metadata.get("namespace"),
                "uid": metadata["uid"],
            },
            "type": type_,
            "reason": reason,
            "note": _cut(note),
            "action": action,
            "reportingController": self._controller,
            "reportingInstance": self._instance,
        }


def _cut(note: str) -> str:
    """To complete characters that the API server admits. A pod's JSON may contain halves of some, which it refuses."""
    return note.encode(errors="replace")[:NOTE_LIMIT].decode(errors="ignore")


def micro_time(moment: datetime) -> str:
    """In the format of a Kubernetes MicroTime."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
