"""A model's files in a folder of the node, in the operator's loop: where the cluster has the node plugin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from slipway.api.names import NODE_CACHE_DRIVER
from slipway.objects.kinds import CSI_DRIVER, EVENT, INFERENCE_SERVICE, LLM_DEPLOYMENT, NODE, Object
from support.builders.llmdeployments import merged
from support.builders.stored import kube_object
from support.programs.compile_claim_loop import UNPLACED, asleep, end_pod, happened, pod, scale
from support.programs.model_cache_loop import (
    bind_weights,
    fetched,
    fetching_loop,
    first_fetcher,
    keeps,
    model_cache,
    weights_claim,
)
from support.programs.operator_loop import Loop, status

MISSING = (
    'MountVolume.SetUp failed for volume "slipway-weights" : kubernetes.io/csi: mounter.SetUpAt failed to get CSI '
    "client: driver name models.slipway.dev not found in the list of registered CSI drivers"
)
NO_ROOM = (
    'MountVolume.SetUp failed for volume "slipway-weights" : rpc error: code = ResourceExhausted desc = models that '
    "pods use have 200.00Gi on the node, and 150.00Gi are allowed (modelCache.node.totalSize): stop one of them"
)


def loop_with_plugin(**cache: Any) -> Loop:
    loop = fetching_loop(**cache)
    loop.api.put(kube_object(CSI_DRIVER, NODE_CACHE_DRIVER, spec={"volumeLifecycleModes": ["Ephemeral"]}))
    return loop


def volume(loop: Loop) -> Object:
    predictor = loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"]
    [found] = [each for each in predictor["volumes"] if each["name"] == "slipway-weights"]
    return dict(found)


def folder_of_node(loop: Loop) -> Object:
    key = first_fetcher(loop)["args"][1].rpartition("/")[2]
    return {"driver": NODE_CACHE_DRIVER, "volumeAttributes": {"keys": key}}


async def waits_on_node(loop: Loop) -> None:
    await asleep(loop)
    scale(loop, 1)
    loop.api.put(kube_object(NODE, "one", status={"conditions": [{"type": "Ready", "status": "True"}]}))
    pod(loop, node="one")


async def test_by_default_files_are_kept_on_the_node_where_the_plugin_is() -> None:
    loop = loop_with_plugin()
    await loop.settle()
    assert volume(loop)["csi"] == folder_of_node(loop)
    assert weights_claim(loop) is None
    assert model_cache(loop)["kind"] == "Node"
    assert not any(each.startswith("--remove-others") for each in first_fetcher(loop)["args"])


async def test_the_volume_names_all_sources_each_once() -> None:
    loop = loop_with_plugin()
    adapters = [{"name": "sql", "uri": "hf://org/sql"}, {"name": "again", "uri": "hf://org/sql"}]
    loop.api.put(fetched({"engine": {"adapters": adapters}}))
    await loop.settle()
    named = volume(loop)["csi"]["volumeAttributes"]["keys"].split(",")
    containers = loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"]["initContainers"]
    assert sorted(named) == sorted(each["args"][1].rpartition("/")[2] for each in containers)
    assert len(named) == 2


async def test_without_the_plugin_kind_node_fetches_in_each_pod_and_says_what_would_help() -> None:
    loop = fetching_loop(kind="Node")
    await loop.settle()
    assert not keeps(loop)
    assert model_cache(loop)["kind"] == "None"
    assert "modelCache.node.enabled" in model_cache(loop)["message"]


async def test_a_plugin_that_is_installed_later_restarts_no_pod() -> None:
    loop = fetching_loop(kind="Node")
    await asleep(loop)
    scale(loop, 1)
    pod(loop, node="one", is_ready=True)
    await loop.settle()
    before = loop.api.get(INFERENCE_SERVICE)["spec"]
    loop.api.put(kube_object(CSI_DRIVER, NODE_CACHE_DRIVER))
    await loop.settle()
    assert loop.api.get(INFERENCE_SERVICE)["spec"] == before
    assert "once no replica runs" in model_cache(loop)["message"]


async def test_a_plugin_that_is_removed_restarts_no_pod_and_the_next_ones_do_without() -> None:
    loop = loop_with_plugin()
    await asleep(loop)
    scale(loop, 1)
    pod(loop, node="one", is_ready=True)
    await loop.settle()
    loop.delete(CSI_DRIVER, namespace="", name=NODE_CACHE_DRIVER)
    await loop.settle()
    assert "csi" in volume(loop)
    end_pod(loop)
    scale(loop, 0)
    await loop.settle()
    assert "csi" not in volume(loop)


async def test_replicas_that_wait_for_a_plugin_that_was_removed_are_made_without_it() -> None:
    loop = loop_with_plugin()
    await waits_on_node(loop)
    happened(loop, "FailedMount", MISSING)
    await loop.settle()
    assert "csi" in volume(loop), "the plugin may be about to start"
    loop.delete(CSI_DRIVER, namespace="", name=NODE_CACHE_DRIVER)
    await loop.settle()
    assert "csi" not in volume(loop)
    assert model_cache(loop)["kind"] != "Node"


async def test_a_claim_is_given_up_also_where_the_plugin_was_installed_since() -> None:
    loop = fetching_loop()
    await asleep(loop)
    bind_weights(loop)
    scale(loop, 1)
    pod(loop, message=UNPLACED)
    await loop.settle()
    loop.api.put(kube_object(CSI_DRIVER, NODE_CACHE_DRIVER))
    loop.time += timedelta(seconds=21)
    for _ in range(5):
        await loop.reconcile()
    assert not keeps(loop)
    assert "ModelCacheGivenUp" in [each.body["reason"] for each in loop.api.requests if each.kind == EVENT]


async def test_a_claim_is_removed_when_the_node_takes_its_place() -> None:
    loop = fetching_loop()
    await asleep(loop)
    assert weights_claim(loop)
    loop.api.put(kube_object(CSI_DRIVER, NODE_CACHE_DRIVER))
    await loop.settle()
    assert volume(loop)["csi"] == folder_of_node(loop)
    assert weights_claim(loop) is None


async def test_kind_pvc_stays_a_claim() -> None:
    loop = loop_with_plugin(kind="PVC")
    await loop.settle()
    assert model_cache(loop)["kind"] == "PVC"


async def test_a_node_without_the_plugin_is_named_with_the_remedy() -> None:
    loop = loop_with_plugin()
    await waits_on_node(loop)
    happened(loop, "FailedMount", MISSING)
    await loop.settle()
    assert "VolumeNotReady" in str(status(loop)["conditions"])
    assert "Node one has no CSI driver models.slipway.dev now: let the node plugin run there" in str(status(loop))


async def test_a_node_without_room_is_named_with_the_limit() -> None:
    loop = loop_with_plugin()
    await waits_on_node(loop)
    happened(loop, "FailedMount", NO_ROOM)
    await loop.settle()
    assert "The model cache of node one has no room: models that pods use have 200.00Gi" in str(status(loop))


async def test_an_unchanged_spec_asks_for_nothing_else() -> None:
    loop = loop_with_plugin()
    await loop.settle()
    writes = len(loop.api.requests)
    loop.api.put(merged(loop.api.get(LLM_DEPLOYMENT), {"metadata": {"labels": {"a": "b"}}}))
    await loop.settle()
    assert not [each for each in loop.api.requests[writes:] if str(each) == "apply InferenceService"]
