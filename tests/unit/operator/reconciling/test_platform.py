"""When the state of KServe's controller causes a reconcile of all models."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from slipway.objects.kinds import DEPLOYMENT, ENDPOINT_SLICE, POD, Kind, Object
from slipway.observing import platform
from slipway.operator.reconciling.platform import KSERVE, PlatformWatch
from support.builders.stored import kube_object

NAME, LABELS = KSERVE.controller, {"app": "kserve"}
IDENTITY = {"uid": "1", "resourceVersion": "1"}
OF_CONTROLLER = {"replicas": 1, "selector": {"matchLabels": LABELS}}
CONTROLLER = kube_object(DEPLOYMENT, NAME, "kserve", metadata=IDENTITY, spec=OF_CONTROLLER)


class World:
    """KServe's namespace in the cache, and how often all models were queued."""

    def __init__(self) -> None:
        self.concerned = 0
        self.is_concerned = asyncio.Event()
        self.following = PlatformWatch(
            KSERVE,
            "kserve",
            client=cast(Any, None),  # there is no watch: the test puts the objects into the cache
            concern=self._concern,
            now=lambda: datetime.now(UTC),
        )
        self._store = self.following.store
        for kind, listed in ((DEPLOYMENT, [CONTROLLER]), (POD, [manager()]), (ENDPOINT_SLICE, [])):
            self.put(kind, *listed)
            self._store.compare(kind, listed, since=self._store.mark, now=0)
        self.following.check()

    def put(self, kind: Kind, *objects: Object) -> None:
        for each in objects:
            self._store.take(kind, None, each, now=0)
        self.following.check()

    def _concern(self) -> None:
        self.concerned += 1
        self.is_concerned.set()


def manager(*, runs: bool = False) -> Object:
    """A controller that has crashed three times, each time soon after its start."""
    now = datetime.now(UTC)
    lived = {name: (now - timedelta(seconds=ago)).isoformat() for name, ago in (("startedAt", 20), ("finishedAt", 10))}
    state = {"running": {"startedAt": now.isoformat()}} if runs else {"waiting": {"reason": "CrashLoopBackOff"}}
    container = {
        "name": "manager",
        "restartCount": 3,
        "ready": runs,
        "state": state,
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error", **lived}},
    }
    status = {"conditions": [{"type": "Ready", "status": str(runs)}], "containerStatuses": [container]}
    metadata = {"uid": "one", "resourceVersion": "2" if runs else "1", "labels": LABELS}
    return kube_object(
        POD, "one", "kserve", metadata=metadata, spec={"containers": [{"name": "manager"}]}, status=status
    )


async def test_a_controller_that_recovers_from_crashes_concerns_all_models_though_no_event_arrives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "STEADY_AFTER", timedelta(seconds=0.3))
    world = World()
    assert world.concerned == 1
    world.put(POD, manager(runs=True))
    assert world.concerned == 1  # it may crash again
    world.is_concerned.clear()
    async with asyncio.timeout(5):
        await world.is_concerned.wait()
    part = world.following.part()
    assert part
    assert platform.outage_of("KServe", part, datetime.now(UTC)) is None
