"""slipway.kube on a real API server: apply, watches, leader election, and their recovery when parts fail."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import pytest
from slipway.kube.cache_audit import AuditTimes
from slipway.kube.call_retries import Patience
from slipway.kube.client import FieldManagers, KubeClient
from slipway.kube.connection import Connection, load_configuration
from slipway.kube.errors import ConflictError, KindMissingError
from slipway.kube.events import EventRecorder
from slipway.kube.metrics import WatchMetrics
from slipway.kube.watch import Watch
from slipway.kube.watching import Watching
from slipway.objects.kinds import CONFIG_MAP, NODE, POD_MONITOR, SERVICE, Kind
from slipway.process.metrics import MetricsRegistry
from support.builders import objects
from support.cluster import AnyCluster, Kube, Neighbour, Object
from support.faults import components
from support.programs import lease_candidate

PATIENT = Patience(deadline=60)
POD_MONITORS = "podmonitors.monitoring.coreos.com"


def config_map(namespace: str, name: str = "a", **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


@asynccontextmanager
async def connected(kubeconfig: Path | None) -> AsyncGenerator[KubeClient]:
    connection = Connection(await load_configuration(kubeconfig))
    yield KubeClient(
        connection, WatchMetrics(MetricsRegistry()), managers=FieldManagers(objects="slipway", status="slipway-status")
    )
    await connection.close()


@pytest.fixture
async def client(cluster: AnyCluster) -> AsyncGenerator[KubeClient]:
    async with connected(cluster.kubeconfig) as client:
        yield client


# --- apply -----------------------------------------------------------------------------------------------------------


async def test_applying_the_same_again_changes_nothing(client: KubeClient, namespace: str) -> None:
    first = await client.apply(CONFIG_MAP, config_map(namespace, x="1"))
    again = await client.apply(CONFIG_MAP, config_map(namespace, x="1"))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert [entry["manager"] for entry in again["metadata"]["managedFields"]] == ["slipway"]


async def test_a_field_that_is_no_longer_applied_is_removed_and_those_of_others_stay(
    client: KubeClient, namespace: str
) -> None:
    await client.apply(CONFIG_MAP, config_map(namespace, ours="1"))
    await client.apply(CONFIG_MAP, config_map(namespace, theirs="2"), manager="others")
    changed = await client.apply(CONFIG_MAP, config_map(namespace))
    assert changed["data"] == {"theirs": "2"}


async def test_a_field_of_another_manager_is_taken_only_by_force(client: KubeClient, namespace: str) -> None:
    await client.apply(CONFIG_MAP, config_map(namespace, x="theirs"), manager="others")
    with pytest.raises(ConflictError, match="others"):
        await client.apply(CONFIG_MAP, config_map(namespace, x="ours"), force=False)
    assert (await client.apply(CONFIG_MAP, config_map(namespace, x="ours")))["data"] == {"x": "ours"}


async def test_a_status_has_a_manager_of_its_own(client: KubeClient, namespace: str) -> None:
    service: Object = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": namespace}}
    await client.apply(SERVICE, {**service, "spec": {"ports": [{"port": 80}]}})
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Ok",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    applied = await client.apply_status(SERVICE, {**service, "status": {"conditions": [condition]}})
    managers = {(entry["manager"], entry.get("subresource")) for entry in applied["metadata"]["managedFields"]}
    assert managers == {("slipway", None), ("slipway-status", "status")}


async def test_deleting_spares_a_successor_and_a_changed_object(client: KubeClient, namespace: str) -> None:
    seen = await client.apply(CONFIG_MAP, config_map(namespace))
    for another in {"uid": "another one's"}, {"resourceVersion": "1"}:
        with pytest.raises(ConflictError):
            await client.delete(CONFIG_MAP, "a", namespace, only={"metadata": seen["metadata"] | another})
    assert await client.find(CONFIG_MAP, "a", namespace)
    assert await client.delete(CONFIG_MAP, "a", namespace)
    assert await client.find(CONFIG_MAP, "a", namespace) is None


async def test_a_repeated_event_is_written_once_in_a_while(client: KubeClient, kube: Kube) -> None:
    regarding = await client.apply(CONFIG_MAP, config_map(kube.namespace))
    recorder = EventRecorder(client, controller="of-a-test", instance="test")
    assert await recorder.record(regarding, "Waking", "a request came in")
    assert not await recorder.record(regarding, "Waking", "a request came in")
    [event] = await kube.select("events.v1.events.k8s.io")
    assert (event["reason"], event["note"], event["regarding"]["name"]) == ("Waking", "a request came in", "a")


# --- watches ---------------------------------------------------------------------------------------------------------


class Watched:
    """The watched kinds, and the keys that were delivered."""

    def __init__(self, watching: Watching[str], keys: list[str]) -> None:
        self.watching, self.store, self.keys = watching, watching.store, keys

    async def until(self, holds: Callable[[], object], *, within: float = 20) -> float:
        """The seconds until the condition holds. The store has no event for changes, so it is polled."""
        start = time.monotonic()
        async with asyncio.timeout(within):
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return time.monotonic() - start

    async def until_has(self, kind: Kind, name: str, namespace: str, *, within: float = 20) -> float:
        return await self.until(lambda: self.store.get(kind, name, namespace), within=within)


@asynccontextmanager
async def watching_kinds(client: KubeClient, *kinds: Kind) -> AsyncGenerator[Watched]:
    keys = list[str]()
    watching = Watching(
        [Watch(kind, lambda obj: [obj["metadata"]["name"]]) for kind in kinds],
        client=client,
        add=keys.append,
        metrics=WatchMetrics(MetricsRegistry()),
        audit_times=AuditTimes(every=5, unsynced=0.1, missing=0.5, behind=3, restarted=3),
    )
    task = asyncio.create_task(watching.run())
    watched = Watched(watching, keys)
    try:
        await watched.until(lambda: task.done() or not watching.store.unsynced())
        yield watched
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), f"the watch ended on its own: {task.exception()!r}"


async def test_a_change_reaches_the_cache_immediately_and_is_delivered(
    client: KubeClient, cluster: AnyCluster, namespace: str
) -> None:
    await client.apply(CONFIG_MAP, config_map(namespace, "before"))
    async with watching_kinds(client, CONFIG_MAP) as watched:
        assert watched.store.get(CONFIG_MAP, "before", namespace)
        await client.apply(CONFIG_MAP, config_map(namespace, "after"))
        await watched.until_has(CONFIG_MAP, "after", namespace, within=10)
        assert "after" in watched.keys
        await client.delete(CONFIG_MAP, "after", namespace)
        await watched.until(lambda: not watched.store.get(CONFIG_MAP, "after", namespace), within=10)


async def test_watching_writes_nothing_on_objects(client: KubeClient, cluster: AnyCluster, namespace: str) -> None:
    await client.apply(CONFIG_MAP, config_map(namespace, x="1"))
    async with watching_kinds(client, CONFIG_MAP) as watched:
        changed = await client.apply(CONFIG_MAP, config_map(namespace, x="2"))
        await watched.until(lambda: (watched.store.get(CONFIG_MAP, "a", namespace) or {}).get("data") == {"x": "2"})
    assert (
        await client.get(CONFIG_MAP, "a", namespace) == changed
    )  # with its resourceVersion, managers, annotations and finalizers


async def test_a_kind_that_appears_and_disappears_is_watched_without_a_restart(
    client: KubeClient, cluster: AnyCluster, kube: Kube
) -> None:
    monitor: Object = {
        "apiVersion": POD_MONITOR.api_version,
        "kind": POD_MONITOR.name,
        "metadata": {"name": "a", "namespace": kube.namespace},
    }
    async with watching_kinds(client, POD_MONITOR, CONFIG_MAP) as watched:
        assert watched.store.is_missing(POD_MONITOR)
        with pytest.raises(KindMissingError):
            await client.apply(POD_MONITOR, monitor)
        for _ in range(2):
            try:
                await kube.apply(objects.definition(POD_MONITOR))
                await watched.until(lambda: not watched.store.is_missing(POD_MONITOR))
                await client.apply(POD_MONITOR, monitor)
                await watched.until_has(POD_MONITOR, "a", kube.namespace, within=20)
            finally:
                await kube.delete("customresourcedefinition", POD_MONITORS, wait=True)
            await watched.until(lambda: watched.store.is_missing(POD_MONITOR))
            assert watched.store.all(POD_MONITOR) == []
        await client.apply(CONFIG_MAP, config_map(kube.namespace, "other"))
        await watched.until_has(CONFIG_MAP, "other", kube.namespace)


@pytest.mark.parametrize("seconds", [1, pytest.param(12, marks=pytest.mark.slow)])
async def test_watches_continue_after_the_api_server_was_killed(
    neighbour: Neighbour, neighbour_kube: Kube, seconds: float
) -> None:
    kubeconfig, namespace = neighbour.cluster.kubeconfig, neighbour_kube.namespace
    async with connected(kubeconfig) as client, watching_kinds(client, CONFIG_MAP, NODE) as watched:
        async with components.without(neighbour.cluster, "kube-apiserver", killed=True):
            await asyncio.sleep(seconds)
        patient = client.with_(patience=PATIENT)
        await patient.apply(CONFIG_MAP, config_map(namespace, "after"))
        assert await watched.until_has(CONFIG_MAP, "after", namespace, within=10) < 10


@pytest.mark.slow
async def test_watches_continue_after_etcd_hung(neighbour: Neighbour, neighbour_kube: Kube) -> None:
    kubeconfig, namespace = neighbour.cluster.kubeconfig, neighbour_kube.namespace
    async with connected(kubeconfig) as client, watching_kinds(client, CONFIG_MAP, NODE) as watched:
        async with components.paused(neighbour.cluster, "etcd"):
            await asyncio.sleep(15)
        patient = client.with_(patience=PATIENT)
        await patient.apply(CONFIG_MAP, config_map(namespace, "after"))
        await watched.until_has(CONFIG_MAP, "after", namespace, within=10)


# --- leader election -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def two_replicas(
    cluster: AnyCluster, namespace: str
) -> AsyncGenerator[tuple[lease_candidate.LeaseCandidate, lease_candidate.LeaseCandidate]]:
    """Two replicas, of which the first is the leader."""
    kubeconfig = cluster.kubeconfig
    if kubeconfig is None:
        pytest.skip("the replicas need the path of a kubeconfig")
    async with lease_candidate.started(kubeconfig, namespace, "a") as first:
        await first.until_printed(lease_candidate.LEADS, within=30)
        async with lease_candidate.started(kubeconfig, namespace, "b") as second:
            yield first, second


async def test_the_standby_leads_within_5_seconds_after_sigterm(cluster: AnyCluster, namespace: str) -> None:
    async with two_replicas(cluster, namespace) as (leader, standby):
        leader.send(SIGTERM)
        await standby.until_printed(lease_candidate.LEADS, within=5)


@pytest.mark.slow
async def test_the_standby_leads_within_20_seconds_after_sigkill(cluster: AnyCluster, namespace: str) -> None:
    async with two_replicas(cluster, namespace) as (leader, standby):
        leader.send(SIGKILL)
        await standby.until_printed(lease_candidate.LEADS, within=20)


@pytest.mark.slow
async def test_a_leader_that_was_paused_writes_nothing_once_another_one_leads(cluster: AnyCluster, kube: Kube) -> None:
    async with two_replicas(cluster, kube.namespace) as (leader, standby):
        leader.send(SIGSTOP)
        await standby.until_printed(lease_candidate.LEADS, within=20)
        async with writers_seen(kube) as writers:
            leader.send(SIGCONT)
            await leader.until_printed(lease_candidate.FOLLOWS, within=30)
            await asyncio.sleep(3)
    assert writers == {"b"}


@asynccontextmanager
async def writers_seen(kube: Kube) -> AsyncGenerator[set[str]]:
    """Records which replica writes during the block, from the first write of `b` on."""
    writers, has_begun = set[str](), asyncio.Event()

    async def watch() -> None:
        async with aclosing(kube.watch("configmap", name=lease_candidate.WRITTEN)) as events:
            async for event in events:
                if writers or event.object["data"]["writer"] == "b":
                    writers.add(event.object["data"]["writer"])
                    has_begun.set()

    task = asyncio.create_task(watch())
    await asyncio.wait_for(has_begun.wait(), timeout=30)
    try:
        yield writers
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
