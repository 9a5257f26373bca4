"""The claim for compiled code in the operator's loop: made, refused, changed, and what starts took from it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from slipway.objects.kinds import (
    CLUSTER_SERVING_RUNTIME,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    STORAGE_CLASS,
    Object,
)
from slipway.operator.rendering.compiled_store import without_store
from support.builders.llmdeployments import merged
from support.builders.stored import LABELS, kube_object, llm
from support.fakes.api_server import KEY
from support.programs.compile_claim_loop import (
    DEFAULT,
    NAME,
    POD_NAME,
    RUNTIME,
    asleep,
    bind,
    cache,
    claim,
    end_pod,
    mounts,
    pod,
    scale,
    vllm,
    waking,
)
from support.programs.operator_loop import Loop, status

# --- made ------------------------------------------------------------------------------------------------------------


async def test_the_claim_is_made_before_the_pods_that_mount_it(kept: Loop) -> None:
    await kept.reconcile()
    made = [str(each) for each in kept.api.requests if each.verb == "apply"]
    assert made.index("apply PersistentVolumeClaim") < made.index("apply InferenceService")
    assert cache(kept) == {
        "kind": "PVC",
        "claim": NAME,
        "storageClassName": "standard",
        "accessMode": "ReadWriteOncePod",
        "message": f"Compiled code is kept on the volume of the claim {NAME}, for one replica at a time.",
    }


async def test_it_belongs_to_its_deployment_so_that_it_is_removed_with_it(kept: Loop) -> None:
    await kept.settle()
    found = claim(kept)
    assert found
    [owner] = found["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (kept.api.get(LLM_DEPLOYMENT)["metadata"]["uid"], True)
    assert found["spec"]["resources"] == {"requests": {"storage": "10Gi"}}


async def test_the_pods_mount_it_and_can_write_to_it(kept: Loop) -> None:
    await kept.settle()
    predictor = kept.api.get(INFERENCE_SERVICE)["spec"]["predictor"]
    assert predictor["model"]["args"][:2] == ["--cache=/var/cache/slipway-compiled", "--cache-limit=8589934592"]
    assert predictor["securityContext"] == {"fsGroup": 1000, "fsGroupChangePolicy": "OnRootMismatch"}
    assert predictor["model"]["volumeMounts"][-1]["mountPath"] == "/var/cache/slipway-compiled"


async def test_where_the_cluster_chooses_the_user_it_chooses_the_group(kept: Loop) -> None:
    spec = {**RUNTIME, "containers": [{"name": "kserve-container"}]}
    kept.api.put(kube_object(CLUSTER_SERVING_RUNTIME, "slipway-vllm-cpu", spec=spec))
    await kept.settle()
    assert "securityContext" not in kept.api.get(INFERENCE_SERVICE)["spec"]["predictor"]


async def test_a_steady_state_writes_nothing(kept: Loop) -> None:
    await asleep(kept)
    before = len(kept.api.requests)
    await kept.settle()
    assert [str(each) for each in kept.api.requests[before:] if each.verb != "get"] == []


async def test_what_others_change_of_the_claim_stays(kept: Loop) -> None:
    """Such as the controller that enlarges volumes."""
    await asleep(kept)
    kept.api.change(PERSISTENT_VOLUME_CLAIM, {"spec": {"resources": {"requests": {"storage": "20Gi"}}}}, name=NAME)
    await kept.settle()
    found = claim(kept)
    assert found
    assert found["spec"]["resources"]["requests"]["storage"] == "20Gi"


async def test_a_claim_of_others_is_not_adopted_even_with_our_labels(kept: Loop) -> None:
    kept.api.put(kube_object(PERSISTENT_VOLUME_CLAIM, NAME, metadata={"labels": LABELS}, spec={"a": "b"}))
    await kept.settle()
    assert not mounts(kept)
    assert cache(kept)["kind"] == "EmptyDir"
    assert "that is not Slipway's" in cache(kept)["message"]
    found = claim(kept)
    assert found
    assert "ownerReferences" not in found["metadata"]


async def test_once_the_claim_of_others_is_gone_ours_is_made(kept: Loop) -> None:
    kept.api.put(kube_object(PERSISTENT_VOLUME_CLAIM, NAME, metadata={"labels": LABELS}, spec={"a": "b"}))
    await asleep(kept)
    kept.delete(PERSISTENT_VOLUME_CLAIM, name=NAME)
    await kept.settle()
    assert mounts(kept)


# --- refused ---------------------------------------------------------------------------------------------------------


async def test_a_quota_doesn_t_keep_the_model_from_running(kept: Loop) -> None:
    kept.api.faults["apply PersistentVolumeClaim"] = (403, "exceeded quota: requests.storage")
    await kept.settle()
    assert not mounts(kept)
    assert claim(kept) is None
    assert "exceeded quota" in cache(kept)["message"]
    assert cache(kept)["givenUp"]["reason"] == "ClaimRefused"


async def test_a_refused_claim_is_not_requested_again_and_again(kept: Loop) -> None:
    kept.api.faults["apply PersistentVolumeClaim"] = (403, "exceeded quota: requests.storage")
    await kept.reconcile()
    scale(kept, 0)
    for _ in range(5):
        await kept.reconcile()
    assert [str(each) for each in kept.api.requests].count("apply PersistentVolumeClaim") == 1


async def test_a_refused_claim_is_made_while_the_model_sleeps_once_it_may_be(kept: Loop) -> None:
    kept.api.faults["apply PersistentVolumeClaim"] = (403, "exceeded quota: requests.storage")
    await asleep(kept)
    kept.api.faults.clear()
    kept.time += timedelta(minutes=11)
    await kept.settle()
    assert mounts(kept)


# --- changes restart nothing -----------------------------------------------------------------------------------------


async def test_a_class_that_appears_restarts_no_replica(kept: Loop) -> None:
    kept.delete(STORAGE_CLASS, namespace="", name="standard")
    await waking(kept, node="n1", is_ready=True)
    before = kept.api.get(INFERENCE_SERVICE)["spec"]
    kept.api.put(kube_object(STORAGE_CLASS, "standard", metadata=DEFAULT, provisioner="ebs.csi.aws.com"))
    await kept.settle()
    assert kept.api.get(INFERENCE_SERVICE)["spec"] == before
    assert "when the model sleeps" in cache(kept)["message"]
    end_pod(kept)
    scale(kept, 0)
    await kept.settle()
    assert mounts(kept)


async def test_a_class_that_disappears_restarts_no_replica(kept: Loop) -> None:
    await asleep(kept)
    bind(kept)
    scale(kept, 1)
    pod(kept, node="n1", is_ready=True)
    kept.delete(STORAGE_CLASS, namespace="", name="standard")
    await kept.settle()
    assert mounts(kept)
    assert claim(kept)


async def test_a_change_of_the_spec_is_carried_out_at_once(kept: Loop) -> None:
    await asleep(kept)
    bind(kept)
    scale(kept, 1)
    pod(kept, node="n1", is_ready=True)
    await kept.settle()
    kept.api.put(merged(kept.api.get(LLM_DEPLOYMENT), vllm(compileCache={"kind": "None"})))
    await kept.settle()
    assert not mounts(kept)
    assert claim(kept) is None
    assert cache(kept)["message"].startswith("Each start of a replica compiles for itself")


def edit(loop: Loop, compile_cache: Object) -> None:
    live = loop.api.get(LLM_DEPLOYMENT)
    metadata = {**live["metadata"], "generation": 2}
    loop.api.put({**live, "metadata": metadata, "spec": vllm(compileCache=compile_cache)["spec"]})


@pytest.mark.parametrize(
    ("before", "after", "is_waiting"),
    [
        ({}, {"kind": "PVC"}, True),
        ({}, {"size": "20Gi"}, True),
        ({}, {"storageClassName": "standard"}, True),
        ({"kind": "PVC", "storageClassName": "missing"}, {"kind": "PVC", "storageClassName": "standard"}, True),
        ({"kind": "None"}, {}, False),
        ({"kind": "None"}, {"kind": "PVC"}, False),
    ],
)
async def test_a_change_that_leads_to_the_same_place_restarts_no_replica(
    kept: Loop, before: Object, after: Object, *, is_waiting: bool
) -> None:
    """A claim that has waited for the model to sleep waits on."""
    kept.api.put(vllm(compileCache=before))
    kept.delete(STORAGE_CLASS, namespace="", name="standard")
    await waking(kept, node="n1", is_ready=True)
    kept.api.put(kube_object(STORAGE_CLASS, "standard", metadata=DEFAULT, provisioner="ebs.csi.aws.com"))
    await kept.settle()
    edit(kept, after)
    await kept.settle()
    assert mounts(kept) is not is_waiting


@pytest.mark.parametrize(
    ("after", "limit"),
    [
        ({"kind": "PVC", "size": "10240Mi"}, 8589934592),
        ({"kind": "PVC", "size": "20Gi"}, 17179869184),
    ],
)
async def test_of_a_volume_that_is_mounted_only_what_its_pods_need_to_know_is_a_change(
    kept: Loop, after: Object, limit: int
) -> None:
    kept.api.change(STORAGE_CLASS, {"allowVolumeExpansion": True}, namespace="", name="standard")
    await asleep(kept)
    bind(kept)
    scale(kept, 1)
    pod(kept, node="n1", is_ready=True)
    await kept.settle()
    edit(kept, after)
    await kept.settle()
    arguments = kept.api.get(INFERENCE_SERVICE)["spec"]["predictor"]["model"]["args"]
    assert f"--cache-limit={limit}" in arguments


async def test_only_the_store_is_added_to_the_pods(kept: Loop) -> None:
    await kept.settle()
    mounted = kept.api.get(INFERENCE_SERVICE)
    kept.api.put(merged(kept.api.get(LLM_DEPLOYMENT), vllm(compileCache={"kind": "None"})))
    await kept.settle()
    assert without_store(mounted)["spec"] == kept.api.get(INFERENCE_SERVICE)["spec"]


async def test_an_engine_without_a_compile_cache_says_nothing(kept: Loop) -> None:
    kept.api.put(llm())
    await kept.settle()
    assert "compileCache" not in status(kept)


# --- what a start took from it ---------------------------------------------------------------------------------------


async def started(loop: Loop, **report: Any) -> None:
    """A replica is ready, and its runtime reports this of the compile cache."""
    await asleep(loop)
    bind(loop)
    scale(loop, 1)
    pod(loop, node="n1", is_ready=True)
    plan = loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"]["annotations"]
    running = {"state": {"running": {"startedAt": "2026-11-21T09:59:00Z"}}, "name": "kserve-container"}
    there = loop.api.get(POD, name=POD_NAME)
    there["metadata"]["annotations"] = plan
    there["status"] |= {"podIP": "10.0.0.7", "containerStatuses": [running]}
    loop.api.put(there)
    reports(loop, **report)
    await settled(loop)


def reports(loop: Loop, **report: Any) -> None:
    said = {"measured": {"kvTokens": 7}, "compileCache": {"reason": "", **report}}
    loop.infos["10.0.0.7"] = json.dumps(said).encode()


async def settled(loop: Loop) -> None:
    for _ in range(3):
        await loop.settle()
        await asyncio.sleep(0.01)


async def test_the_status_says_that_a_start_compiled_nothing(kept: Loop) -> None:
    await started(kept, state="Used", newFiles=0, readSeconds=1.5, compileSeconds=0.2)
    found = cache(kept)["lastStart"]
    assert (found["compiled"], found["read"], found["pod"]) == ("Nothing", "1.5s", POD_NAME)
    assert status(kept)["lastColdStart"]["compiled"] == "Nothing"


async def test_without_a_volume_the_status_says_what_each_start_costs(kept: Loop) -> None:
    kept.delete(STORAGE_CLASS, namespace="", name="standard")
    kept.api.put(vllm(compileCache={"kind": "None"}))
    await started(kept, state="Off", compileSeconds=47.3)
    assert cache(kept)["message"] == (
        "Each start of a replica compiles for itself, which took 47s at the last start: engine.compileCache.kind is "
        "None."
    )


async def test_what_was_measured_stays_when_the_report_is_completed(kept: Loop) -> None:
    await started(kept, state="Filling", compileSeconds=47)
    measured = status(kept)["measured"]
    assert cache(kept)["lastStart"]["state"] == "Filling"
    kept.measuring.forget(KEY)
    reports(kept, state="Filled", compileSeconds=47, bytes=1 << 20)
    await settled(kept)
    assert cache(kept)["lastStart"]["state"] == "Filled"
    assert status(kept)["measured"] == measured
