"""The claim for compiled code on a real scheduler, with volumes that belong to a node and volumes that nodes share.

The pods are on simulated GPU nodes: they run nothing, but the scheduler, the volumes and KServe are real. What a real
vLLM takes from such a volume is in `test_vllm_compile_cache.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from slipway_devcluster.slipway import LLAMACPP_IMAGE
from slipway_devcluster.volumes import DEFAULT, SHARED_CLASS, STORAGE_CLASS
from support.builders.llmdeployments import acceleratorprofile, llmdeployment, merged
from support.builders.objects import claim, manifest
from support.cluster import AnyCluster, Kube, Object, Operator, installation
from support.cluster.llmdeployments import current_status, events_with, is_for_others_to_scale
from support.cluster.pods import is_running

NAME, CLAIM, PREDICTOR = "model", "model-compiled", "model-predictor"
OURS = f"slipway.dev/llmdeployment={NAME}"
ANY_GPU = "any-gpu"
STUCK = "stuck"


@pytest.fixture(scope="module", autouse=True)
def world(cluster: AnyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The CRDs and the runtimes as Slipway's chart would install them; a default StorageClass; a profile that several
    nodes have."""
    cluster.devcluster()  # only clusters that the tests create are guaranteed to have such nodes and volumes
    kube = Kube(cluster.kubectl, cluster.kubeconfig, cache_folder=tmp_path_factory.getbasetemp() / "kubectl")
    asyncio.run(installation.install(kube, LLAMACPP_IMAGE.name))  # nothing runs it
    asyncio.run(kube.apply(any_gpu(), stuck_class()))
    with default_class(kube):
        yield
    asyncio.run(kube.delete("acceleratorprofile", ANY_GPU))
    asyncio.run(kube.delete("storageclass", STUCK))


@contextmanager
def default_class(kube: Kube) -> Iterator[None]:
    asyncio.run(kube.patch("storageclass", STORAGE_CLASS, {"metadata": {"annotations": {DEFAULT: "true"}}}))
    yield
    asyncio.run(kube.patch("storageclass", STORAGE_CLASS, {"metadata": {"annotations": {DEFAULT: None}}}))


def any_gpu() -> Object:
    spec = {"nodeLabels": {"nvidia.com/gpu.present": "true"}, "tolerations": [{"key": "nvidia.com/gpu"}]}
    return acceleratorprofile(ANY_GPU, {**spec, "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]})


def stuck_class() -> Object:
    """Nothing provisions its volumes."""
    fields = {"provisioner": "example.com/nothing", "volumeBindingMode": "WaitForFirstConsumer"}
    return manifest("storage.k8s.io/v1", "StorageClass", STUCK, **fields)


def model(**spec: Any) -> Object:
    base = {
        "model": {"uri": "pvc://weights/"},
        "engine": {"name": "vllm", "contextLength": 1024, "maxConcurrency": 2, "parallelism": {"tensor": 1}},
        "accelerator": {"profiles": [ANY_GPU]},
        "scaling": {"minReplicas": 0, "maxReplicas": 1},
    }
    return llmdeployment(NAME, merged(base, spec))


def cached(**compile_cache: Any) -> Object:
    return model(engine={"compileCache": compile_cache})


def cache_of(thing: Object) -> Object:
    found: Object = current_status(thing).get("compileCache") or {}
    return found


@pytest.fixture
async def asleep(slipway: Operator, kube: Kube, weights: None) -> AsyncIterator[Kube]:
    """A namespace for a model; afterwards nothing of it is left in the cluster."""
    yield kube
    await kube.delete("llmdeployment", NAME, wait=True)


async def applied(kube: Kube, thing: Object, kind: str) -> Object:
    """Until the status says where compiled code is kept, and others may scale the Deployment."""
    await kube.apply(thing)
    await kube.wait_for("deployment", PREDICTOR, is_for_others_to_scale)
    return cache_of(await kube.wait_for("llmdeployment", NAME, lambda it: cache_of(it).get("kind") == kind))


async def awake(kube: Kube, *, replicas: int = 1, timeout: float = 60) -> list[Object]:
    await kube.scale("deployment", PREDICTOR, replicas)
    enough = lambda it: int((it.get("status") or {}).get("readyReplicas") or 0) >= replicas  # noqa: E731
    await kube.wait_for("deployment", PREDICTOR, enough, timeout=timeout)
    return [each for each in await kube.select("pods", OURS) if is_running(each)]


async def sleeps(kube: Kube) -> None:
    await kube.scale("deployment", PREDICTOR, 0)
    for pod in await kube.select("pods", OURS):
        await kube.wait_gone("pod", pod["metadata"]["name"])


def has_store(pod: Object) -> bool:
    return any(each["name"] == "slipway-compiled" for each in pod["spec"]["volumes"])


def is_bound(found: Object) -> bool:
    return bool(found["status"].get("phase") == "Bound")


# --- by default ------------------------------------------------------------------------------------------------------


async def test_by_default_a_model_that_sleeps_has_a_volume_that_outlives_its_pods(asleep: Kube) -> None:
    await applied(asleep, model(), "PVC")
    [first] = await awake(asleep)
    assert has_store(first)
    bound = await asleep.wait_for("persistentvolumeclaim", CLAIM, is_bound)
    assert bound["spec"]["accessModes"] == ["ReadWriteOncePod"]
    await sleeps(asleep)
    [second] = await awake(asleep)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert has_store(second)
    assert (await asleep.get("persistentvolumeclaim", CLAIM))["spec"]["volumeName"] == bound["spec"]["volumeName"]


async def test_the_process_can_write_to_the_volume_and_is_told_where_it_is(asleep: Kube) -> None:
    await applied(asleep, model(), "PVC")
    [pod] = await awake(asleep)
    [container] = [each for each in pod["spec"]["containers"] if each["name"] == "kserve-container"]
    assert pod["spec"]["securityContext"]["fsGroup"] == container["securityContext"]["runAsUser"] == 1000
    assert container["args"].index("--cache=/var/cache/slipway-compiled") < container["args"].index("--")


async def test_a_rollout_stops_the_old_replica_first_and_keeps_the_volume(asleep: Kube) -> None:
    await applied(asleep, model(), "PVC")
    [old] = await awake(asleep)
    await asleep.apply(model(pod={"env": [{"name": "APP_A", "value": "1"}]}))
    await asleep.wait_gone("pod", old["metadata"]["name"])
    [new] = await awake(asleep)
    assert has_store(new)
    assert "givenUp" not in cache_of(await asleep.get("llmdeployment", NAME))


async def test_the_claim_and_its_volume_are_deleted_with_the_model(asleep: Kube) -> None:
    await applied(asleep, model(), "PVC")
    await awake(asleep)
    volume = (await asleep.wait_for("persistentvolumeclaim", CLAIM, is_bound))["spec"]["volumeName"]
    await asleep.delete("llmdeployment", NAME, wait=True)
    await asleep.wait_gone("persistentvolumeclaim", CLAIM)
    await asleep.wait_gone("persistentvolume", volume)


async def test_a_claim_of_someone_else_is_left_alone(asleep: Kube) -> None:
    labels = {"slipway.dev/llmdeployment": NAME, "app.kubernetes.io/managed-by": "slipway"}
    await asleep.apply(merged(claim(CLAIM, storage="1Mi"), {"metadata": {"labels": labels}}))
    found = await applied(asleep, model(), "EmptyDir")
    assert "that is not Slipway's" in found["message"]
    assert "ownerReferences" not in (await asleep.get("persistentvolumeclaim", CLAIM))["metadata"]
    [pod] = await awake(asleep)
    assert not has_store(pod)


# --- shared ----------------------------------------------------------------------------------------------------------


async def test_replicas_on_two_nodes_share_a_volume_that_all_nodes_reach(asleep: Kube) -> None:
    shared = {"kind": "PVC", "storageClassName": SHARED_CLASS, "accessMode": "ReadWriteMany"}
    await applied(asleep, model(engine={"compileCache": shared}, scaling={"maxReplicas": 4}), "PVC")
    pods = await awake(asleep, replicas=4)
    assert all(map(has_store, pods))
    assert len({each["spec"]["nodeName"] for each in pods}) > 1
    assert (await asleep.get("persistentvolumeclaim", CLAIM))["spec"]["accessModes"] == ["ReadWriteMany"]


async def test_without_such_a_class_several_replicas_say_what_would_help(asleep: Kube) -> None:
    found = await applied(asleep, model(scaling={"maxReplicas": 2}), "EmptyDir")
    assert "scaling.maxReplicas is 2" in found["message"]
    assert "slipway.dev/access-modes: ReadWriteMany" in found["message"]


# --- given up --------------------------------------------------------------------------------------------------------


async def test_a_claim_that_nothing_binds_doesnt_stop_the_model(asleep: Kube) -> None:
    await applied(asleep, cached(kind="PVC", storageClassName=STUCK), "PVC")
    [pod] = await awake(asleep, timeout=120)
    assert not has_store(pod)
    found = await asleep.wait_for("llmdeployment", NAME, lambda it: cache_of(it).get("kind") == "EmptyDir")
    assert cache_of(found)["givenUp"]["reason"] == "ClaimNotBound"
    assert await asleep.find("persistentvolumeclaim", CLAIM) is None
    assert ("Warning", "CompileCacheGivenUp") in await events_with(asleep, "CompileCacheGivenUp")


async def test_a_quota_doesnt_stop_the_model(asleep: Kube) -> None:
    hard = {"persistentvolumeclaims": "1"}  # the one with its weights
    await asleep.apply(manifest("v1", "ResourceQuota", "claims", spec={"hard": hard}))
    await asleep.wait_for("resourcequota", "claims", lambda it: bool((it.get("status") or {}).get("used")))
    found = await applied(asleep, model(), "EmptyDir")
    assert found["givenUp"]["reason"] == "ClaimRefused"
    assert "exceeded quota" in found["message"]
    [pod] = await awake(asleep)
    assert not has_store(pod)


async def test_a_model_leaves_the_node_of_its_volume_when_that_takes_no_pods_and_tries_again_when_it_sleeps(
    asleep: Kube,
) -> None:
    await applied(asleep, model(), "PVC")
    [pod] = await awake(asleep)
    node = pod["spec"]["nodeName"]
    await sleeps(asleep)
    await asleep.run("cordon", node)
    try:
        [moved] = await awake(asleep, timeout=120)
        assert moved["spec"]["nodeName"] != node
        assert not has_store(moved)
        found = await asleep.wait_for("llmdeployment", NAME, lambda it: bool(cache_of(it).get("givenUp")))
        assert cache_of(found)["givenUp"]["reason"] == "VolumeElsewhere"
        await sleeps(asleep)
        await asleep.wait_for("llmdeployment", NAME, lambda it: cache_of(it).get("kind") == "PVC")
        [again] = await awake(asleep)
        assert has_store(again)
        assert again["spec"]["nodeName"] != node
    finally:
        await asleep.run("uncordon", node)
