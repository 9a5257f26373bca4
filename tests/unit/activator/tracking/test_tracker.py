"""A pod's own report that it is ready counts until something else is known of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import count

import pytest
from slipway.activator.shared.model_state import ModelStates
from slipway.activator.tracking.poller import PollTarget
from slipway.activator.tracking.tracker import Tracker
from slipway.api.model_key import ModelKey
from slipway.kube.store import Store
from slipway.objects.kinds import ENDPOINT_SLICE, LLM_DEPLOYMENT, POD, SERVICE
from slipway.observing.keeping import FOUND_BY
from support.fakes import sleep_simulation as model
from support.fakes.sleep_simulation import LLAMA


class FakePoller:
    def __init__(self) -> None:
        self.targets: list[PollTarget] = []

    def follow(self, _: ModelKey, targets: Iterable[PollTarget]) -> None:
        self.targets = list(targets)


class Scene:
    """The view of a deployment with one pod."""

    def __init__(self) -> None:
        self._store, self._deployments = (
            Store([LLM_DEPLOYMENT, SERVICE, POD, ENDPOINT_SLICE], index_by=FOUND_BY),
            ModelStates(),
        )
        self._versions = count(1)
        clock = asyncio.get_running_loop().time
        self.knowledge = Tracker(
            self._store, self._deployments, port_of=lambda _: 20123, now=lambda: model.BEGIN, clock=clock
        )
        self.readiness_poller = FakePoller()
        self.knowledge.readiness_poller = self.readiness_poller  # type: ignore[assignment]
        self.knowledge.metrics_poller = FakePoller()  # type: ignore[assignment]
        for kind, obj in ((LLM_DEPLOYMENT, model.deployment()), (SERVICE, model.service())):
            self._store.take(kind, "ADDED", obj, now=0)

    def pod(self, *, container: str = "first", ready: bool = False) -> None:
        state = {"name": "engine", "containerID": container, "state": {"running": {}}}
        metadata = model.metadata("a", labels=model.LABELS, creationTimestamp=model.stamp(0))
        conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": model.stamp(0)}]
        status = {"phase": "Running", "podIP": "10.0.0.1", "conditions": conditions, "containerStatuses": [state]}
        metadata["resourceVersion"] = str(next(self._versions))
        spec = {"containers": [{"name": "engine"}]}
        self._store.take(POD, "MODIFIED", {"metadata": metadata, "spec": spec, "status": status}, now=0)
        self.knowledge.refresh(LLAMA)

    async def greet(self) -> None:
        [target] = self.readiness_poller.targets
        self.knowledge.record_ready(target)
        before = self._deployments.of(LLAMA)
        async with asyncio.timeout(10):
            while self._deployments.of(LLAMA) == before:  # noqa: ASYNC110 - it is refreshed in a moment
                await asyncio.sleep(0)

    @property
    def replicas(self) -> int:
        known = self._deployments.of(LLAMA)
        assert known
        return len(known.replicas)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    refreshing = asyncio.create_task(scene.knowledge.keep_refreshing())
    yield scene
    refreshing.cancel()


async def test_a_pod_that_starts_is_polled_and_is_a_replica_as_soon_as_it_is_ready(scene: Scene) -> None:
    scene.pod()
    assert scene.replicas == 0
    await scene.greet()
    assert scene.replicas == 1


async def test_its_report_does_not_count_for_the_container_that_follows(scene: Scene) -> None:
    scene.pod()
    await scene.greet()
    scene.pod(container="second")
    assert scene.replicas == 0
    await scene.greet()
    assert scene.replicas == 1


async def test_once_the_api_server_has_reported_it_ready_only_the_api_server_counts(scene: Scene) -> None:
    scene.pod()
    await scene.greet()
    scene.pod(ready=True)
    assert scene.readiness_poller.targets == []
    scene.pod()
    assert scene.replicas == 0
