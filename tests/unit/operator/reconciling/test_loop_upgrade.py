"""What a newer Slipway does with models of an older one: reconciles before and after the upgrade."""

from __future__ import annotations

from dataclasses import replace

import pytest
from slipway.api.names import RUNTIME_LABEL
from slipway.kube.work_queue import RetryLaterError
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    EVENT,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    SERVICE,
    Object,
)
from support.builders.stored import kube_object, made_by_kserve
from support.programs.compile_claim_loop import RUNTIME as RUNTIME_OF_VLLM
from support.programs.compile_claim_loop import mounts, serving, vllm
from support.programs.operator_loop import INSTALLATION, Loop, status

RUNTIME = {"supportedModelFormats": [{"name": "gguf"}], "containers": [{"name": "kserve-container"}]}
OLD, NEW = "slipway-llamacpp-1-aa", "slipway-llamacpp-2-bb"


def upgraded(before: Loop, version: str = "2", runtime: str = NEW) -> Loop:
    ours = kube_object(CLUSTER_SERVING_RUNTIME, runtime, spec=RUNTIME)
    installation = replace(INSTALLATION, version=version, runtimes={"slipway-llamacpp": ours})
    return Loop(installation=installation, api=before.api)


@pytest.fixture
async def older(loop: Loop) -> Loop:
    """Slipway 1 has created a model; both versions of the runtime exist."""
    spec = loop.api.get(CLUSTER_SERVING_RUNTIME, namespace="", name="slipway-llamacpp")["spec"]
    for name in (OLD, NEW):
        loop.api.put(kube_object(CLUSTER_SERVING_RUNTIME, name, spec=spec))
    older = upgraded(loop, "1", OLD)
    await older.reconcile()
    older.api.put(made_by_kserve(owner=older.api.get(INFERENCE_SERVICE)))
    await older.settle()
    return older


def runtime_of(loop: Loop) -> str:
    model: Object = loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"]["model"]
    return str(model["runtime"])


def changed(deployment: Object, *, generation: int, **spec: Object) -> Object:
    metadata = {**deployment["metadata"], "generation": generation}
    return {**deployment, "metadata": metadata, "spec": {**deployment["spec"], **spec}}


def events(loop: Loop) -> list[str]:
    return [request.body["reason"] for request in loop.api.requests if request.kind == EVENT]


async def test_a_newer_version_leaves_the_inference_service_as_it_is(older: Loop) -> None:
    before = older.api.get(INFERENCE_SERVICE)
    await upgraded(older).settle()
    assert older.api.get(INFERENCE_SERVICE) == before


async def test_an_available_update_is_reported_once_with_what_it_would_change(older: Loop) -> None:
    newer = upgraded(older)
    await newer.reconcile()
    assert events(newer) == ["UpdateAvailable"]
    assert status(newer)["update"] == {"version": "2", "changes": [f"predictor.model.runtime: {OLD} → {NEW}"]}
    newer.api.requests.clear()
    await newer.reconcile()
    assert newer.api.requests == []


async def test_the_annotation_rolls_out_the_update_and_the_status_no_longer_mentions_it(older: Loop) -> None:
    newer = upgraded(older)
    await newer.settle()
    newer.api.change(LLM_DEPLOYMENT, {"metadata": {"annotations": {"slipway.dev/sync": "now"}}})
    await newer.settle()
    assert runtime_of(newer) == NEW
    assert status(newer)["made"]["version"] == "2"


async def test_a_refused_change_that_is_reverted_rolls_out_no_update(older: Loop) -> None:
    newer = upgraded(older)
    await newer.settle()
    before = newer.api.get(LLM_DEPLOYMENT)
    newer.api.faults["apply InferenceService"] = (403, "exceeded quota")
    newer.api.put(changed(before, generation=2, pod={"labels": {"team": "b"}}))
    with pytest.raises(RetryLaterError):
        await newer.reconcile()
    assert status(newer)["made"]["version"] == "1"
    newer.api.faults.clear()
    newer.api.put(changed(before, generation=3))
    await newer.settle()
    assert runtime_of(newer) == OLD
    assert status(newer)["update"]["version"] == "2"


async def test_a_profile_that_is_missing_for_a_while_changes_nothing_of_the_plan(older: Loop) -> None:
    plan = {name: status(older)["plan"][name] for name in ("accelerator", "maxConcurrency")}
    profile = older.api.get(ACCELERATOR_PROFILE, namespace="", name="cpu")
    newer = upgraded(older)
    newer.delete(ACCELERATOR_PROFILE, namespace="", name="cpu")
    await newer.settle()
    newer.api.put(profile)
    await newer.settle()
    assert {name: status(newer)["plan"][name] for name in plan} == plan


async def test_a_deleted_inference_service_is_created_again_by_the_current_version(older: Loop) -> None:
    newer = upgraded(older)
    await newer.settle()
    newer.delete(INFERENCE_SERVICE)
    await newer.settle()
    assert runtime_of(newer) == NEW


async def test_going_back_to_the_older_version_changes_nothing_either(older: Loop) -> None:
    before = older.api.get(INFERENCE_SERVICE)
    await upgraded(older).settle()
    back = upgraded(older, "1", OLD)
    await back.settle()
    assert back.api.get(INFERENCE_SERVICE) == before
    assert not status(back).get("update")


async def test_all_other_objects_follow_the_newer_version_immediately(older: Loop) -> None:
    newer = upgraded(older)
    newer.api.change(SERVICE, {"spec": {"ports": []}})
    await newer.reconcile()
    assert newer.api.get(SERVICE)["spec"]["ports"]


async def test_a_missing_runtime_is_reported_and_the_model_goes_on(older: Loop) -> None:
    newer = upgraded(older)
    newer.delete(CLUSTER_SERVING_RUNTIME, namespace="", name=NEW)
    before = newer.api.get(INFERENCE_SERVICE)
    await newer.settle()
    assert newer.api.get(INFERENCE_SERVICE) == before


# --- from the version whose digest of the spec had compileCache, too --------------------------------------------------

CACHES = ("compileCache", "modelCache")
KEEPS: Object = {"kind": "PVC", "size": "20Gi"}


def with_runtime_of_vllm(before: Loop, version: str, runtime: str) -> Loop:
    labels = {"labels": {RUNTIME_LABEL: "slipway-vllm-cpu"}}
    ours = kube_object(CLUSTER_SERVING_RUNTIME, runtime, metadata=labels, spec=RUNTIME_OF_VLLM)
    before.api.put(ours)
    installation = replace(INSTALLATION, version=version, runtimes={"slipway-vllm-cpu": ours})
    return Loop(installation=installation, api=before.api)


@pytest.mark.parametrize(
    ("cache", "digest"),
    [({}, "aad7a8895f84cb3ca94331903e377be5"), (KEEPS, "b46c8a703c78da6840651df2063b7678")],
)
async def test_an_older_record_restarts_no_pod_and_a_later_change_of_the_store_is_followed(
    kept: Loop, cache: Object, digest: str
) -> None:
    """The digests are as that version computed them."""
    older = with_runtime_of_vllm(kept, "1", "slipway-vllm-cpu-1-aa")
    older.api.put(vllm(**({"compileCache": cache} if cache else {})))
    await serving(older)
    live = older.api.get(LLM_DEPLOYMENT)
    made = {name: value for name, value in live["status"]["made"].items() if name not in CACHES}
    older.api.put({**live, "status": {**live["status"], "made": {**made, "spec": digest}}})
    before = older.api.get(INFERENCE_SERVICE)
    assert mounts(older)

    newer = with_runtime_of_vllm(older, "2", "slipway-vllm-cpu-2-bb")
    await newer.settle()
    assert newer.api.get(INFERENCE_SERVICE) == before
    assert status(newer)["made"]["compileCache"]

    spec = vllm(compileCache={"kind": "None"})["spec"]
    newer.api.put(changed(newer.api.get(LLM_DEPLOYMENT), generation=2, **spec))
    await newer.settle()
    assert not mounts(newer)
