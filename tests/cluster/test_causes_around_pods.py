"""External causes of a pod's failure (nodes, priorities, registries, KServe), derived from the real cluster."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.reasons import Reason
from slipway.objects.kinds import INFERENCE_SERVICE
from slipway.observing.causes import main_cause
from slipway.observing.observation import observe
from slipway.observing.snapshot import RefusedWrite, Snapshot
from slipway.observing.status import status_of
from support.builders import objects
from support.builders.llmdeployments import NAME
from support.builders.plans import SMALL
from support.cluster import AnyCluster, Kube, KubectlError, Object, ReachableServer, is_ready, observed_snapshots
from support.cluster.nodes import ANYWHERE, set_ready
from support.faults.pod_failures import ENGINE, LABELS, model


def shows(reason: Reason, words: str) -> observed_snapshots.Wanted:
    """A predicate: whether a snapshot has this cause."""

    def wanted(world: Snapshot) -> bool:
        cause = main_cause(world)
        return cause is not None and cause.reason == reason and words in cause.message

    return wanted


def is_serving(world: Snapshot) -> bool:
    return any(is_ready(pod) for pod in world.pods)


# --- nodes -----------------------------------------------------------------------------------------------------------


async def on_the_node(kube: Kube, node: str) -> None:
    await kube.apply(model({"nodeSelector": {"is": node}, "tolerations": ANYWHERE}))
    await observed_snapshots.until(kube, lambda world: any(pod["spec"].get("nodeName") == node for pod in world.pods))


async def test_a_node_that_is_no_longer_ready_is_the_cause_of_its_replica(kube: Kube, node: str) -> None:
    await on_the_node(kube, node)
    await set_ready(kube, node, ready=False)
    await observed_snapshots.until(kube, shows(Reason.NODE_LOST, f"Node {node} isn't ready: container runtime is down"))


async def test_a_deleted_node_is_the_cause_of_its_replica(kube: Kube, node: str) -> None:
    await on_the_node(kube, node)
    await kube.delete("node", node)
    await observed_snapshots.until(kube, shows(Reason.NODE_LOST, f"Node {node} is gone"))


# --- eviction and termination ----------------------------------------------------------------------------------------


async def test_a_replica_replaced_by_a_pod_of_higher_priority_is_preempted(kube: Kube, cluster: AnyCluster) -> None:
    cluster.devcluster()
    important = f"important-{kube.namespace}"
    await kube.apply(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": important},
            "value": 1000,
        }
    )
    gpus = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    slow = {"lifecycle": {"preStop": {"sleep": {"seconds": 20}}}}
    try:
        await kube.apply(model({"terminationGracePeriodSeconds": 30}, **gpus, **slow))
        await observed_snapshots.until(kube, is_serving)
        await kube.apply(objects.pod("boss", objects.PAUSE, [], container=gpus, priorityClassName=important))
        await observed_snapshots.until(kube, shows(Reason.PREEMPTED, "preempt"))
    finally:
        await kube.delete("priorityclass", important)


@pytest.mark.slow
async def test_a_replica_that_fills_its_disk_is_evicted(kube: Kube, python_image: str) -> None:
    writes = objects.python("open('/cache/weights', 'wb').write(bytes(8 << 20)); import time; time.sleep(3600)")
    cache = {"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}}
    mount = {"volumeMounts": [{"name": "cache", "mountPath": "/cache"}]}
    await kube.apply(model({"volumes": [cache]}, image=python_image, command=writes, **mount))
    await observed_snapshots.until(kube, shows(Reason.EVICTED, "exceeds the limit"), timeout=120)


async def test_a_pod_that_does_not_terminate_is_reported_with_what_it_waits_for(kube: Kube) -> None:
    stuck = model()
    stuck["spec"]["template"]["metadata"]["finalizers"] = ["example.com/keep"]
    await kube.apply(stuck)
    pod = next(iter((await observed_snapshots.until(kube, is_serving)).pods))["metadata"]["name"]
    await kube.delete("pod", pod)
    world = await observed_snapshots.until(kube, lambda world: any(is_leaving(each) for each in world.pods))
    later = replace(world, now=world.now + timedelta(minutes=1))
    try:
        assert shows(Reason.POD_STUCK, "waits for its finalizers: example.com/keep")(later)
    finally:
        await kube.patch("pod", pod, {"metadata": {"finalizers": None}})


def is_leaving(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


# --- registries ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def registry(tester: ReachableServer, status: int, text: str) -> AsyncGenerator[str]:
    """A registry on the node's loopback, where containerd uses plain HTTP; it sends this response to every request."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text=text)

    with tester.enter():
        listener = socket.create_server(("127.0.0.1", 0))
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield f"localhost:{listener.getsockname()[1]}/team/model:1"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "final"), [(404, True), (401, True), (403, True), (429, False), (503, False)], ids=str
)
async def test_a_registry_that_denies_an_image_is_distinguished_from_one_that_is_unavailable(
    kube: Kube, cluster: AnyCluster, tester: ReachableServer, status: int, final: bool
) -> None:
    cluster.devcluster()
    async with registry(tester, status, "") as image:
        await kube.apply(model(image=image))
        world = await observed_snapshots.until(kube, shows(Reason.IMAGE_PULL_FAILED, image))
    cause = main_cause(world)
    assert cause
    assert cause.final is final, cause


# --- KServe ----------------------------------------------------------------------------------------------------------


def served_by_kserve(replicas: int = 0, **container: object) -> Object:
    engine = {"name": ENGINE, "image": objects.PAUSE, "imagePullPolicy": "IfNotPresent", **container}
    service = objects.inference_service(NAME, autoscaler_class="none", minReplicas=replicas, containers=[engine])
    del service["spec"]["predictor"]["model"]
    service["metadata"]["labels"] |= LABELS
    return service


async def test_a_refusal_by_kserve_is_reported_with_kserves_message(kube: Kube) -> None:
    with pytest.raises(KubectlError) as refused:
        await kube.apply(served_by_kserve(minReplicas=-1) | {"spec": {"predictor": {"minReplicas": -1}}})
    refusal = RefusedWrite(kind=INFERENCE_SERVICE, name=NAME, message=str(refused.value))
    cause = main_cause(Snapshot(now=datetime.now(UTC), refusals=(refusal,)))
    assert cause
    assert cause.reason == Reason.ADMISSION_DENIED
    assert "kserve-webhook-server" in cause.message


async def test_a_missing_runtime_is_reported(kube: Kube) -> None:
    await kube.apply(objects.inference_service(NAME))
    await observed_snapshots.until(kube, shows(Reason.RUNTIME_MISSING, ""))


async def test_zero_replicas_are_idle_even_if_kserve_reports_them_ready(kube: Kube) -> None:
    await kube.apply(served_by_kserve())
    world = await observed_snapshots.until(
        kube, lambda world: bool(world.inference_service and is_ready(world.inference_service))
    )
    status = status_from(
        replace(world, service=objects.service(NAME, selector={}) | {"metadata": {"name": NAME, "namespace": "x"}})
    )
    found_conditions = {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}
    assert status["state"] == "Idle"
    assert found_conditions["Ready"] == ("True", "ScaledToZero")
    assert found_conditions["ModelLoaded"] == ("False", "ScaledToZero")


async def test_a_start_through_kserve_is_reported_step_by_step(kube: Kube, python_image: str) -> None:
    probe = {"exec": {"command": ["test", "-e", "/loaded"]}, "periodSeconds": 1}
    loads = objects.python("import time; time.sleep(4); open('/loaded', 'w'); time.sleep(3600)")
    states: list[str] = []

    def is_served(world: Snapshot) -> bool:
        status = status_from(world)
        if not states or states[-1] != status["state"]:
            states.append(status["state"])
        return bool(status["state"] == "Serving")

    await kube.apply(served_by_kserve(1, image=python_image, command=loads, readinessProbe=probe))
    world = await observed_snapshots.until(kube, is_served)
    assert states == ["Waking", "Serving"]
    assert int(status_from(world)["lastColdStart"]["ready"].removesuffix("s")) >= 3


def status_from(world: Snapshot) -> Object:
    deployment = LLMDeployment.model_validate(
        {
            "metadata": {"name": NAME, "namespace": "x", "generation": 1},
            "spec": {"model": {"uri": "pvc://gemma/"}, "scaling": {"initialReplicas": 1}},
        }
    )
    return status_of(deployment.metadata.generation, SMALL, observe(deployment, world), None, world.now)
