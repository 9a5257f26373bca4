"""Watches KServe and KEDA: the Deployments, pods and webhooks in their own namespaces.

All LLMDeployments depend on them, so all are reconciled when one of the two goes down or recovers, and not at each
change of their pods. A program that kept crashing recovers without a change, by running on: a timer checks it then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from slipway.api.names import SERVICE_LABEL
from slipway.kube.metrics import WatchMetrics
from slipway.kube.store import Mark, Store, pruned
from slipway.kube.watch import Watch
from slipway.kube.watching import Watching, WatchingClient
from slipway.objects.kinds import DEPLOYMENT, ENDPOINT_SLICE, POD, Object
from slipway.observing import platform
from slipway.observing.snapshot import PlatformPart
from slipway.process.metrics import MetricsRegistry

logger = logging.getLogger(__name__)

CHANGED = "changed"
UNTIL_KNOWN = timedelta(seconds=0.5)
SOON = 0.1  # seconds: with a clock that was set back, it must not be checked without a pause
LARGEST = 1 << 20  # characters of one object; no tenant writes into these namespaces


@dataclass(frozen=True)
class PlatformProgram:
    """Its name, and the names of its objects in its own manifests and charts."""

    name: Literal["KServe", "KEDA"]
    controller: str
    webhook: str = ""  # the Service by which the API server calls its webhook, where that is required


KSERVE = PlatformProgram("KServe", "kserve-controller-manager", "kserve-webhook-server-service")
KEDA = PlatformProgram("KEDA", "keda-operator")  # its webhook is optional: the API server continues without it


class PartReader:
    """What the caches show of a program: read once after each change."""

    def __init__(self, program: PlatformProgram, namespace: str, store: Store) -> None:
        self._program, self._namespace, self._store = program, namespace, store
        self._read: tuple[Mark, PlatformPart] | None = None

    def part(self) -> PlatformPart | None:
        """None: not known yet."""
        if self._store.unsynced():
            return None
        if self._read is None or self._read[0] != self._store.mark:
            self._read = self._store.mark, self._part()
        return self._read[1]

    def _part(self) -> PlatformPart:
        slices = [each for each in self._store.all(ENDPOINT_SLICE) if self._is_of_webhook(each)]
        return PlatformPart(
            namespace=self._namespace,
            controller=self._store.get(DEPLOYMENT, self._program.controller, self._namespace),
            pods=tuple(self._store.all(POD)),
            webhook=tuple(slices),
        )

    def _is_of_webhook(self, endpoint_slice: Object) -> bool:
        labels = endpoint_slice["metadata"].get("labels") or {}
        return bool(self._program.webhook) and labels.get(SERVICE_LABEL) == self._program.webhook


class PlatformWatch:
    """Watches one program while the operator runs. `concern`: queues all LLMDeployments."""

    def __init__(
        self,
        program: PlatformProgram,
        namespace: str,
        *,
        client: WatchingClient,
        concern: Callable[[], None],
        now: Callable[[], datetime],
    ) -> None:
        self._program, self._concern, self._now = program, concern, now
        self._watching = Watching(
            [
                Watch(DEPLOYMENT, _changed, namespaces=(namespace,), keep=_of_controller, largest=LARGEST),
                Watch(POD, _changed, namespaces=(namespace,), keep=_of_pod, largest=LARGEST),
                Watch(ENDPOINT_SLICE, _changed, namespaces=(namespace,), keep=pruned, largest=LARGEST),
            ],
            client=client,
            add=lambda _: self.check(),
            metrics=WatchMetrics(MetricsRegistry()),  # not exported: the operator's are about the caches of models
        )
        self.store = self._watching.store
        self._reader = PartReader(program, namespace, self.store)
        self._last: object = None
        self._alarm: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        try:
            self.check()
            await self._watching.run()
        finally:
            self._set_alarm(None)

    def part(self) -> PlatformPart | None:
        return self._reader.part()

    def check(self) -> None:
        """If the check fails, the last result stays: no LLMDeployment waits for it."""
        try:
            self._check()
        except Exception:
            logger.exception("The check of %s failed; please report this bug", self._program.name)

    def _check(self) -> None:
        part, now = self.part(), self._now()
        if part is None:  # no watch reports that its first list is complete
            self._set_alarm(now + UNTIL_KNOWN)
            return
        self._set_alarm(platform.steady_at(part, now))
        outage = platform.outage_of(self._program.name, part, now)
        remarks = tuple(platform.remarks(part)) if self._program is KEDA else ()
        result = (platform.without_moment(outage), bool(outage and outage.since), remarks)
        if result == self._last:
            return
        if outage or self._last is not None:
            logger.warning("%s", outage.message) if outage else logger.info("%s runs", self._program.name)
        for remark in remarks:
            logger.warning("%s", remark)
        self._last = result
        self._concern()

    def _set_alarm(self, at: datetime | None) -> None:
        """For moments at which time alone changes the result."""
        if self._alarm:
            self._alarm.cancel()
        self._alarm = None
        if at is not None:
            seconds = max(SOON, (at - self._now()).total_seconds())
            self._alarm = asyncio.get_running_loop().call_later(seconds, self.check)


def _changed(_: Object) -> list[str]:
    return [CHANGED]


def _of_controller(deployment: Object) -> Object:
    """Its images contain its version."""
    spec = deployment["spec"]
    containers = spec.get("template", {}).get("spec", {}).get("containers") or []
    images = [{"image": each.get("image", "")} for each in containers]
    kept = {"replicas": spec.get("replicas", 1), "selector": spec.get("selector") or {}}
    return {**pruned(deployment), "spec": {**kept, "template": {"spec": {"containers": images}}}}


KEPT_OF_CONTAINERS = ("name", "image", "resources", "restartPolicy")


def _of_pod(pod: Object) -> Object:
    spec = pod["spec"]
    containers = {
        which: [{name: each[name] for name in KEPT_OF_CONTAINERS if name in each} for each in spec.get(which) or []]
        for which in ("initContainers", "containers")
    }
    return {**pruned(pod), "spec": {"nodeName": spec.get("nodeName", ""), **containers}}
