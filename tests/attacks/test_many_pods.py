"""However many pods a tenant creates for a model, and however often they change, others are served."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any, cast

import pytest
from slipway.activator.shared.model_state import ModelStates
from slipway.activator.tracking.pod_summary import MOST_SHOWN
from slipway.activator.tracking.poller import PollTarget
from slipway.activator.tracking.refresh_queue import RefreshQueue
from slipway.activator.tracking.tracker import Tracker
from slipway.activator.tracking.watches import ActivatorService, watches
from slipway.api.model_key import ModelKey
from slipway.api.names import OWNER_LABEL
from slipway.kube import handover
from slipway.kube.metrics import WatchMetrics
from slipway.kube.store import Entry, Packing
from slipway.kube.watching import Watching
from slipway.objects.kinds import LLM_DEPLOYMENT, POD, Kind, Object
from slipway.objects.metadata import uid_of
from slipway.observing.failures import failures_in
from slipway.observing.keeping import FOUND_BY, MOST_PODS
from slipway.operator.reconciling.memory import ModelMemory
from slipway.operator.reconciling.model_counts import ModelCounts
from slipway.operator.reconciling.pods_to_read import MOST_ENDED
from slipway.process.metrics import MetricsRegistry
from support.fakes import sleep_simulation as model
from support.fakes.sleep_simulation import LLAMA
from support.programs.operator_loop import Loop

TRAP = ModelKey("evil", "llama")
MANY = MOST_PODS + 200
READS_PER_REFRESH = 3 * 2 * MOST_SHOWN + 2  # in each of three states, plus one that is ready, and the LLMDeployment


class NoPoller:
    """A poller that polls nothing."""

    def follow(self, _: ModelKey, targets: Iterable[PollTarget]) -> None:
        self.targets = [*targets]


class Activator:
    """From the events of the watches' thread up to the state of the data path, in virtual time: each refresh takes
    `REFRESH_SECONDS` seconds of the processor, and each event a tenth of the time of one portion."""

    REFRESH_SECONDS = 0.001

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refreshes_of, self.read = Counter[ModelKey](), 0
        self.known = ModelStates()
        self.watching: Watching[Any] = Watching(
            watches(ActivatorService("slipway-system", "slipway-activator"), lambda _: ()),
            client=cast(Any, None),
            add=self._changed,
            metrics=WatchMetrics(MetricsRegistry()),
            index_by=FOUND_BY,
        )
        clock = asyncio.get_running_loop().time
        self.knowledge = Tracker(
            self.watching.store, self.known, port_of=lambda _: 20123, now=lambda: model.BEGIN, clock=clock
        )
        self.metrics_poller = NoPoller()
        self.knowledge.readiness_poller = NoPoller()  # type: ignore[assignment]
        self.knowledge.metrics_poller = self.metrics_poller  # type: ignore[assignment]
        self.knowledge._queue = RefreshQueue(
            self._refresh, clock, lambda: self.REFRESH_SECONDS * self.refreshes_of.total()
        )
        self._arrive = self.watching._delivering(0)
        self._count_reads(monkeypatch)

    def _changed(self, deployment: ModelKey) -> None:
        self.knowledge.changed(deployment)

    def _refresh(self, deployment: ModelKey) -> None:
        self.refreshes_of[deployment] += 1
        self.knowledge.refresh(deployment)

    def _count_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        unpacked = Packing.unpacked

        def counted(packing: Packing, entry: Entry) -> Object:
            self.read += 1
            return unpacked(packing, entry)

        monkeypatch.setattr(Packing, "unpacked", counted)

    def deliver(self, objects: list[tuple[Kind, Object]]) -> None:
        """Delivers all events in one go, as after the loop was busy with other work for that long."""

        def deliver_all() -> None:
            for kind, obj in objects:
                self._arrive(kind, "MODIFIED", obj)

        thread = threading.Thread(target=deliver_all)
        thread.start()
        thread.join()

    @property
    def pods(self) -> int:
        return len(self.watching.store.briefs(POD, TRAP.name, TRAP.namespace))

    async def until_known(self, pods: int) -> None:
        async with asyncio.timeout(60):
            while self.pods < pods:  # noqa: ASYNC110 - it counts the loop's iterations
                await asyncio.sleep(0)


@pytest.fixture
async def activator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Activator]:
    activator = Activator(monkeypatch)
    refreshing = asyncio.create_task(activator.knowledge.keep_refreshing())
    activator.deliver([(LLM_DEPLOYMENT, deployment(TRAP)), (LLM_DEPLOYMENT, deployment(LLAMA))])
    async with asyncio.timeout(10):
        while len([*activator.known]) < 2:  # noqa: ASYNC110 - it takes a few iterations
            await asyncio.sleep(0)
    yield activator
    refreshing.cancel()


def deployment(which: ModelKey) -> Object:
    obj = model.deployment()
    return {**obj, "metadata": {**obj["metadata"], "namespace": which.namespace, "resourceVersion": "1"}}


def pod(number: int, *, ready: bool = False, which: ModelKey = TRAP) -> Object:
    metadata = {"name": f"p{number}", "namespace": which.namespace, "uid": f"u{number}", "resourceVersion": f"{number}"}
    metadata |= {"creationTimestamp": "2026-11-21T09:00:00Z", "labels": {OWNER_LABEL: which.name}}  # type: ignore[dict-item]
    conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-11-21T09:00:00Z"}]
    status = {"phase": "Pending", "conditions": conditions, **({"podIP": "10.0.0.1"} if ready else {})}
    return {"metadata": metadata, "spec": {"containers": [{"name": "c"}]}, "status": status}


def pending(number: int) -> list[tuple[Kind, Object]]:
    return [(POD, pod(each)) for each in range(number)]


async def test_a_burst_of_pods_of_one_model_costs_few_refreshes_and_not_one_for_each_pod(activator: Activator) -> None:
    activator.REFRESH_SECONDS = 60.0  # so that it pauses for the longest possible time
    before = activator.refreshes_of[TRAP]
    activator.deliver(pending(MANY))
    start = asyncio.get_running_loop().time()
    await activator.until_known(MANY)
    seconds = asyncio.get_running_loop().time() - start
    assert activator.refreshes_of[TRAP] - before <= 2 + seconds / 0.25


async def test_a_refresh_reads_few_pods_however_many_there_are(activator: Activator) -> None:
    activator.deliver(pending(MANY))
    await activator.until_known(MANY)
    before = activator.read
    activator.knowledge.refresh(TRAP)
    assert activator.read - before <= READS_PER_REFRESH


async def test_a_change_of_a_pod_reads_no_other_pod(activator: Activator) -> None:
    activator.deliver(pending(MOST_PODS))
    await activator.until_known(MOST_PODS)
    before, refreshes = activator.read, activator.refreshes_of.total()
    changed = [
        (POD, pod(each) | {"metadata": {**pod(each)["metadata"], "resourceVersion": "9999"}}) for each in range(100)
    ]
    activator.deliver([*changed, (POD, pod(MOST_PODS))])
    await activator.until_known(MOST_PODS + 1)
    assert activator.read - before <= READS_PER_REFRESH * (activator.refreshes_of.total() - refreshes)


async def test_other_tasks_run_while_a_burst_is_delivered(
    activator: Activator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "LONGEST_PORTION", 0.0)  # one event at a time
    activator.deliver(pending(MOST_PODS))
    turns = 0
    while activator.pods < MOST_PODS:
        await asyncio.sleep(0)
        turns += 1
    assert turns >= MOST_PODS


async def test_a_ready_replica_is_found_though_another_namespace_has_a_burst(activator: Activator) -> None:
    activator.deliver([*pending(MOST_PODS), (POD, pod(1, ready=True, which=LLAMA)), *pending(MOST_PODS)])
    await activator.until_known(MOST_PODS)
    for _ in range(10):  # iterations of the loop
        await asyncio.sleep(0)
    state = activator.known.of(LLAMA)
    assert state
    assert state.replicas


async def test_for_a_model_with_more_pods_than_possible_replicas_the_ready_ones_count(
    activator: Activator,
) -> None:
    activator.deliver([(POD, pod(MANY, ready=True)), *pending(MANY)])
    await activator.until_known(MANY + 1)
    activator.knowledge.refresh(TRAP)
    state = activator.known.of(TRAP)
    assert state
    assert [each.host for each in state.replicas] == ["10.0.0.1"]


async def test_all_replicas_of_a_model_with_the_most_possible_replicas_are_found(activator: Activator) -> None:
    activator.deliver([(POD, pod(each, ready=True)) for each in range(MOST_PODS)])
    await activator.until_known(MOST_PODS)
    activator.knowledge.refresh(TRAP)
    state = activator.known.of(TRAP)
    assert state
    assert len(state.replicas) == MOST_PODS


async def test_the_operator_observes_no_more_pods_than_a_model_can_have_replicas() -> None:
    loop, key = Loop(), ModelKey(*TRAP)
    loop.store.take(LLM_DEPLOYMENT, "ADDED", deployment(TRAP), now=0)
    for number in range(MOST_PODS + 10):
        loop.store.take(POD, "ADDED", pod(number, ready=number == 1), now=0)
    llm_deployment = loop.reader.llm_deployment(key)
    assert llm_deployment
    snapshot = loop.reader.read(key, llm_deployment, ModelMemory(uid_of(llm_deployment)))
    assert len(snapshot.pods) == MOST_PODS
    assert "p1" in {each["metadata"]["name"] for each in snapshot.pods}


async def test_of_pods_that_have_ended_the_operator_reads_the_newest_and_all_that_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand that failed would take a fifth of a second of each reconcile."""
    loop, key = Loop(), ModelKey(*TRAP)
    loop.store.take(LLM_DEPLOYMENT, "ADDED", deployment(TRAP), now=0)
    for number in range(1000):
        loop.store.take(POD, "ADDED", failed(number), now=0)
    loop.store.take(POD, "ADDED", pod(1000), now=0)
    llm_deployment = loop.reader.llm_deployment(key)
    assert llm_deployment
    reads = Counter[str]()
    unpacked = Packing.unpacked
    monkeypatch.setattr(Packing, "unpacked", lambda self, entry: reads.update([entry.uid]) or unpacked(self, entry))
    snapshot = loop.reader.read(key, llm_deployment, ModelMemory(uid_of(llm_deployment)))
    names = {each["metadata"]["name"] for each in snapshot.pods}
    assert names == {"p1000", *(f"p{number}" for number in range(1000 - MOST_ENDED, 1000))}
    assert sum(number for uid, number in reads.items() if uid.startswith("u")) == MOST_ENDED + 1


async def test_a_failed_pod_that_was_left_out_meanwhile_is_not_counted_again() -> None:
    loop, key = Loop(), ModelKey(*TRAP)
    counts = ModelCounts()

    def see() -> None:
        llm_deployment = loop.reader.llm_deployment(key)
        assert llm_deployment
        snapshot = loop.reader.read(key, llm_deployment, ModelMemory(uid_of(llm_deployment)))
        counts.see(failures_in(snapshot), pods=loop.reader.pod_uids(key), now=snapshot.now)

    loop.store.take(LLM_DEPLOYMENT, "ADDED", deployment(TRAP), now=0)
    see()
    for number in range(MOST_ENDED):
        loop.store.take(POD, "ADDED", failed(number), now=0)
    see()
    for number in range(MOST_ENDED, 2 * MOST_ENDED):
        loop.store.take(POD, "ADDED", failed(number), now=0)
    see()
    for number in range(MOST_ENDED, 2 * MOST_ENDED):
        loop.store.take(POD, "DELETED", failed(number), now=0)
    see()
    assert counts.failures.total() == 2 * MOST_ENDED


def failed(number: int) -> Object:
    """The later ones have the greater number."""
    found = pod(number)
    created = f"2026-11-21T09:{number // 60:02}:{number % 60:02}Z"
    end = {"exitCode": 1, "containerID": f"c{number}", "finishedAt": created, "message": "CUDA out of memory."}
    status = {"phase": "Failed", "containerStatuses": [{"name": "c", "ready": False, "state": {"terminated": end}}]}
    return {**found, "metadata": {**found["metadata"], "creationTimestamp": created}, "status": status}
