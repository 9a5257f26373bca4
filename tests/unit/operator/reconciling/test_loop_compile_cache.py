"""The claim for compiled code in the operator's loop: made, kept, given up, tried again, removed."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from slipway.kube.errors import KubeError
from slipway.kube.work_queue import RetryLaterError
from slipway.objects.kinds import (
    CLUSTER_SERVING_RUNTIME,
    EVENT,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    STORAGE_CLASS,
    Object,
)
from slipway.operator.rendering.compiled_store import store_in, without_store
from support.builders.llmdeployments import merged
from support.builders.stored import LABELS, kube_object, llm, made_by_kserve
from support.fakes.api_server import KEY
from support.programs.operator_loop import Loop, status

NAME, POD_NAME = "llama-compiled", "llama-predictor-1"
RUNTIME = {
    "supportedModelFormats": [{"name": "huggingface"}],
    "containers": [{"name": "kserve-container", "securityContext": {"runAsUser": 1000, "runAsGroup": 1000}}],
}
DEFAULT = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
UNPLACED = "0/2 nodes are available: 2 node(s) had volume node affinity conflict."
CROWDED = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."


def vllm(**engine: Any) -> Object:
    return llm(
        engine={"name": "vllm", "contextLength": 2048, "maxConcurrency": 4, **engine},
        accelerator={"profiles": ["cpu"]},
        model={"uri": "pvc://models/llama", "facts": {"parameters": 1_000_000_000, "layers": 10, "kvHeads": 4}},
    )


def cpu() -> Object:
    spec = {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "64Gi"}
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "AcceleratorProfile",
        "metadata": {"name": "cpu"},
        "spec": spec,
    }


@pytest.fixture
def kept(loop: Loop) -> Loop:
    """A model of vLLM, which sleeps, in a cluster with a default StorageClass."""
    loop.api.put(cpu())
    loop.api.put(kube_object(CLUSTER_SERVING_RUNTIME, "slipway-vllm-cpu", spec=RUNTIME))
    loop.api.put(kube_object(STORAGE_CLASS, "standard", metadata=DEFAULT, provisioner="ebs.csi.aws.com"))
    loop.api.put(vllm())
    return loop


def cache(loop: Loop) -> Object:
    found: Object = status(loop)["compileCache"]
    return found


def mounts(loop: Loop) -> bool:
    return store_in(loop.api.get(INFERENCE_SERVICE)) is not None


def claim(loop: Loop) -> Object | None:
    return loop.api.objects.get((PERSISTENT_VOLUME_CLAIM, KEY.namespace, NAME))


def bind(loop: Loop) -> None:
    if claim(loop):
        bound = {"status": {"phase": "Bound"}, "spec": {"volumeName": "pv-1"}}
        loop.api.change(PERSISTENT_VOLUME_CLAIM, bound, name=NAME)


def scale(loop: Loop, replicas: int) -> None:
    loop.api.put(made_by_kserve(replicas, owner=loop.api.get(INFERENCE_SERVICE)))


def pod(loop: Loop, *, message: str = "", age: float = 0, node: str = "", is_ready: bool = False) -> None:
    at = f"{loop.time - timedelta(seconds=age):%Y-%m-%dT%H:%M:%SZ}"
    scheduled = {"type": "PodScheduled", "status": "True" if node else "False", "lastTransitionTime": at}
    ready = {"type": "Ready", "status": str(is_ready), "lastTransitionTime": at}
    conditions = [ready, *([scheduled | {"reason": "Unschedulable", "message": message}] if message or node else [])]
    loop.api.put(
        kube_object(
            POD,
            POD_NAME,
            metadata={"labels": LABELS, "creationTimestamp": at},
            spec={"containers": [{"name": "kserve-container"}], **({"nodeName": node} if node else {})},
            status={"conditions": conditions},
        )
    )


def end_pod(loop: Loop) -> None:
    loop.delete(POD, name=POD_NAME)


def happened(loop: Loop, reason: str, message: str, *, ago: float = 0) -> None:
    """An event about the pod."""
    about = {"kind": "Pod", "name": POD_NAME, "uid": loop.api.get(POD, name=POD_NAME)["metadata"]["uid"]}
    at = f"{loop.time - timedelta(seconds=ago):%Y-%m-%dT%H:%M:%SZ}"
    event = kube_object(EVENT, reason.lower(), reason=reason, message=message, involvedObject=about, lastTimestamp=at)
    loop.api.put({**event, "apiVersion": "v1", "kind": "Event", "metadata": {**event["metadata"], "labels": LABELS}})


async def asleep(loop: Loop) -> None:
    await loop.settle()
    scale(loop, 0)
    await loop.settle()


async def waking(loop: Loop, **facts: Any) -> None:
    """A pod of it has been waiting, as these facts say."""
    await asleep(loop)
    scale(loop, 1)
    pod(loop, **facts)
    await loop.settle()


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


# --- in the way ------------------------------------------------------------------------------------------------------


async def test_a_claim_that_is_not_bound_in_time_is_given_up(kept: Loop) -> None:
    await waking(kept, age=61)
    assert not mounts(kept)
    assert claim(kept) is None
    assert cache(kept)["givenUp"]["reason"] == "ClaimNotBound"
    assert kept.api.get(INFERENCE_SERVICE)["spec"]["predictor"]["deploymentStrategy"] == {"type": "Recreate"}


async def test_it_is_given_time_to_be_bound_and_looked_at_again_just_then(kept: Loop) -> None:
    await waking(kept, age=40)
    assert mounts(kept)
    assert await kept.reconcile() == pytest.approx(20, abs=1)


async def test_a_volume_that_no_free_node_reaches_is_given_up(kept: Loop) -> None:
    await asleep(kept)
    bind(kept)
    scale(kept, 1)
    pod(kept, message=UNPLACED)
    await kept.settle()
    assert mounts(kept)
    kept.time += timedelta(seconds=21)
    await kept.settle()
    assert not mounts(kept)
    assert cache(kept)["givenUp"]["reason"] == "VolumeElsewhere"
    assert "volume node affinity conflict" in cache(kept)["message"]


@pytest.mark.parametrize("is_bound", [True, False])
async def test_a_pod_that_waits_for_an_accelerator_keeps_its_claim(kept: Loop, *, is_bound: bool) -> None:
    await asleep(kept)
    if is_bound:
        bind(kept)
    scale(kept, 1)
    pod(kept, message=CROWDED, age=3600)
    await kept.settle()
    assert mounts(kept)


async def test_a_volume_that_is_not_mounted_in_time_is_given_up(kept: Loop) -> None:
    await asleep(kept)
    bind(kept)
    scale(kept, 1)
    pod(kept, node="n1", age=91)
    happened(kept, "FailedAttachVolume", 'Multi-Attach error for volume "pv-1"')
    await kept.settle()
    assert cache(kept)["givenUp"]["reason"] == "VolumeNotMounted"
    assert not mounts(kept)


async def test_the_loss_of_the_volume_is_noticed_while_the_model_sleeps(kept: Loop) -> None:
    await asleep(kept)
    kept.api.change(PERSISTENT_VOLUME_CLAIM, {"status": {"phase": "Lost"}}, name=NAME)
    await kept.settle()
    kept.time += timedelta(minutes=11)
    await kept.settle()
    found = claim(kept)
    assert found
    assert "status" not in found


async def test_giving_up_is_an_event_and_a_metric(kept: Loop) -> None:
    await asleep(kept)
    scale(kept, 1)
    pod(kept, age=61)
    for _ in range(5):
        await kept.reconcile()
    notes = [json.loads(json.dumps(each.body)) for each in kept.api.requests if each.kind == EVENT]
    given_up = [each for each in notes if each["reason"] == "CompileCacheGivenUp"]
    assert len(given_up) == 1
    assert "was not bound within 60 s" in given_up[0]["note"]
    assert kept.memories.by_compile_cache() == {("EmptyDir", "ClaimNotBound"): 1}


async def test_what_was_given_up_stays_so_until_the_model_sleeps(kept: Loop) -> None:
    await waking(kept, age=61)
    end_pod(kept)
    pod(kept, node="n1", age=1, is_ready=True)
    kept.time += timedelta(hours=2)
    await kept.settle()
    assert not mounts(kept)
    end_pod(kept)
    scale(kept, 0)
    await kept.settle()
    assert mounts(kept)
    assert claim(kept)


async def test_the_second_try_in_a_row_waits_longer(kept: Loop) -> None:
    await waking(kept, age=61)
    for minutes, is_tried in ((1, True), (30, False), (61, True)):
        end_pod(kept)
        scale(kept, 0)
        kept.time += timedelta(minutes=minutes)
        await kept.settle()
        assert mounts(kept) == is_tried, minutes
        scale(kept, 1)
        pod(kept, age=61)
        await kept.settle()
        assert not mounts(kept)


@pytest.mark.parametrize("call", ["delete PersistentVolumeClaim", "apply-status LLMDeployment"])
async def test_a_call_that_fails_forgets_nothing_that_was_given_up(kept: Loop, call: str) -> None:
    await asleep(kept)
    scale(kept, 1)
    pod(kept, age=61)
    kept.api.faults[call] = (409, "the object has been modified")
    with suppress(KubeError, RetryLaterError):
        await kept.reconcile()
    assert not mounts(kept)
    kept.api.faults.clear()
    end_pod(kept)
    scale(kept, 0)
    kept.time += timedelta(seconds=1)
    for _ in range(3):
        with suppress(KubeError, RetryLaterError):
            await kept.reconcile()
    assert cache(kept)["givenUp"]["tries"] == 1
    notes = [each.body or {} for each in kept.api.requests if each.kind == EVENT]
    assert [each["reason"] for each in notes].count("CompileCacheGivenUp") == 1


async def test_a_new_operator_knows_what_was_given_up(kept: Loop) -> None:
    await waking(kept, age=61)
    kept.take_over()
    await kept.settle()
    assert not mounts(kept)
    assert cache(kept)["givenUp"]["tries"] == 1


async def test_a_success_forgets_earlier_failures(kept: Loop) -> None:
    await waking(kept, age=61)
    end_pod(kept)
    scale(kept, 0)
    await kept.settle()
    bind(kept)
    scale(kept, 1)
    pod(kept, node="n1", is_ready=True)
    await kept.settle()
    assert cache(kept)["kind"] == "PVC"
    assert "givenUp" not in cache(kept)


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


# --- without harm ----------------------------------------------------------------------------------------------------


async def serving(loop: Loop) -> None:
    await asleep(loop)
    bind(loop)
    scale(loop, 1)
    pod(loop, node="n1", is_ready=True)
    await loop.settle()


async def test_an_operator_that_loses_its_right_to_claims_restarts_no_replica(kept: Loop) -> None:
    await serving(kept)
    before = kept.api.get(INFERENCE_SERVICE)["spec"]
    for verb in ("apply", "delete"):
        kept.api.faults[f"{verb} PersistentVolumeClaim"] = (403, "persistentvolumeclaims is forbidden")
    kept.take_over()
    await kept.settle()
    assert kept.api.get(INFERENCE_SERVICE)["spec"] == before
    assert "givenUp" not in cache(kept)


async def test_a_claim_that_may_not_be_deleted_stays_and_is_no_problem(kept: Loop) -> None:
    await asleep(kept)
    kept.api.faults["delete PersistentVolumeClaim"] = (403, "persistentvolumeclaims is forbidden")
    kept.api.put(merged(kept.api.get(LLM_DEPLOYMENT), vllm(compileCache={"kind": "None"})))
    for _ in range(5):
        await kept.reconcile()
    assert [str(each) for each in kept.api.requests].count("delete PersistentVolumeClaim") == 1
    assert status(kept)["state"] == "Idle"


async def test_a_volume_that_may_not_grow_is_used_as_it_is(kept: Loop) -> None:
    grows: Object = {"provisioner": "ebs.csi.aws.com", "allowVolumeExpansion": True}
    kept.api.put(kube_object(STORAGE_CLASS, "standard", metadata=DEFAULT, **grows))
    await asleep(kept)
    kept.api.faults["apply PersistentVolumeClaim"] = (403, "exceeded quota: requests.storage")
    kept.api.put(merged(kept.api.get(LLM_DEPLOYMENT), vllm(compileCache={"kind": "Auto", "size": "20Gi"})))
    for _ in range(5):
        await kept.reconcile()
    assert [str(each) for each in kept.api.requests].count("apply PersistentVolumeClaim") == 1
    assert mounts(kept)


async def test_replicas_that_are_ready_keep_their_volume_when_the_claim_loses_its_owner(kept: Loop) -> None:
    """As after a restore from a backup."""
    await serving(kept)
    found = claim(kept)
    assert found
    kept.api.put({**found, "metadata": {**found["metadata"], "ownerReferences": []}})
    await kept.settle()
    assert mounts(kept)
    assert "is not Slipway's" in cache(kept)["message"]
    end_pod(kept)
    pod(kept, node="n1")
    await kept.settle()
    assert not mounts(kept)


async def test_a_claim_that_others_delete_is_made_again_when_the_model_sleeps(kept: Loop) -> None:
    """Until no pod has it any more, Kubernetes keeps it, and so do the replicas."""
    await serving(kept)
    found = claim(kept)
    assert found
    going = {"deletionTimestamp": "2026-11-21T09:59:59Z", "finalizers": ["kubernetes.io/pvc-protection"]}
    kept.api.put({**found, "metadata": {**found["metadata"], **going}})
    await kept.settle()
    assert mounts(kept)
    end_pod(kept)
    scale(kept, 0)
    await kept.settle()
    assert not mounts(kept)
    kept.delete(PERSISTENT_VOLUME_CLAIM, name=NAME)
    await kept.settle()
    assert mounts(kept)
    assert claim(kept)


OCCUPIED = (
    "0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod "
    "access mode."
)


def second_pod(loop: Loop, *, message: str, age: float) -> None:
    first = loop.api.get(POD, name=POD_NAME)
    pod(loop, message=message, age=age)
    second = loop.api.get(POD, name=POD_NAME)
    loop.api.put({**second, "metadata": {**second["metadata"], "name": "llama-predictor-2", "uid": "another"}})
    loop.api.put(first)


async def test_in_a_rollout_a_replica_waits_for_the_volume_that_the_old_one_has(kept: Loop) -> None:
    await serving(kept)
    second_pod(kept, message=OCCUPIED, age=3600)
    await kept.settle()
    assert mounts(kept)


async def test_more_replicas_than_the_volume_admits_do_without_it(kept: Loop) -> None:
    await serving(kept)
    more = {"spec": {"scaling": {"maxReplicas": 2}}}
    kept.api.put(merged(kept.api.get(LLM_DEPLOYMENT), more))
    await kept.settle()
    assert mounts(kept)  # nothing restarts before it must
    scale(kept, 2)
    second_pod(kept, message=OCCUPIED, age=0)
    await kept.settle()
    kept.time += timedelta(seconds=21)
    await kept.settle()
    assert not mounts(kept)
    assert "scaling.maxReplicas is 2" in cache(kept)["message"]


# --- when the clocks start -------------------------------------------------------------------------------------------


def leave(loop: Loop, *, in_seconds: float) -> None:
    """The first pod is being deleted, and has so long to end."""
    first = loop.api.get(POD, name=POD_NAME)
    due = f"{loop.time + timedelta(seconds=in_seconds):%Y-%m-%dT%H:%M:%SZ}"
    loop.api.put({**first, "metadata": {**first["metadata"], "deletionTimestamp": due}})


async def test_when_the_old_replica_is_gone_the_scheduler_gets_time_for_the_new_one(kept: Loop) -> None:
    """What it said before is the last that it has said, for some seconds."""
    await serving(kept)
    second_pod(kept, message=OCCUPIED, age=0)
    leave(kept, in_seconds=120)
    await kept.settle()
    kept.time += timedelta(seconds=100)
    await kept.settle()
    end_pod(kept)
    await kept.settle()
    assert mounts(kept)
    kept.time += timedelta(seconds=21)
    await kept.settle()
    assert not mounts(kept)


async def test_after_a_long_wait_for_an_accelerator_a_volume_gets_its_full_time(kept: Loop) -> None:
    await asleep(kept)
    bind(kept)
    scale(kept, 1)
    pod(kept, message=CROWDED, age=3600)
    await kept.settle()
    pod(kept, message=UNPLACED, age=3600)
    await kept.settle()
    assert mounts(kept)
    kept.time += timedelta(seconds=21)
    await kept.settle()
    assert not mounts(kept)


async def test_after_a_long_wait_for_an_accelerator_a_claim_gets_its_full_time_to_be_bound(kept: Loop) -> None:
    unbound = "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    await waking(kept, message=CROWDED, age=3600)
    pod(kept, message=unbound, age=3600)
    await kept.settle()
    assert mounts(kept)
    kept.time += timedelta(seconds=61)
    await kept.settle()
    assert not mounts(kept)


async def test_a_clock_that_was_set_back_delays_nothing(kept: Loop) -> None:
    await asleep(kept)
    bind(kept)
    scale(kept, 1)
    pod(kept, message=UNPLACED, age=0)
    await kept.settle()
    kept.time -= timedelta(hours=1)
    pod(kept, message=UNPLACED, age=21)
    await kept.settle()
    assert not mounts(kept)


async def test_a_replica_that_its_lost_node_never_ends_keeps_the_volume_no_longer(kept: Loop) -> None:
    await serving(kept)
    second_pod(kept, message=OCCUPIED, age=0)
    leave(kept, in_seconds=30)
    await kept.settle()
    kept.time += timedelta(seconds=59)
    await kept.settle()
    assert mounts(kept)
    assert await kept.reconcile() == pytest.approx(1, abs=0.5)
    kept.time += timedelta(seconds=2)
    await kept.settle()
    assert not mounts(kept)
    assert cache(kept)["givenUp"]["reason"] == "VolumeElsewhere"


@pytest.mark.parametrize("strategy", ["Auto", "Recreate"])
async def test_giving_up_waits_for_no_pod_on_a_lost_node(kept: Loop, strategy: str) -> None:
    """Under Recreate, Kubernetes makes no pod while one that is older hasn't ended."""
    kept.api.put(merged(kept.api.get(LLM_DEPLOYMENT), {"spec": {"rollout": {"strategy": strategy}}}))
    await serving(kept)
    second_pod(kept, message=OCCUPIED, age=0)
    leave(kept, in_seconds=30)
    await kept.settle()
    kept.time += timedelta(seconds=61)
    await kept.reconcile()
    for _ in range(3):
        assert not mounts(kept)
        replaced = kept.api.get(INFERENCE_SERVICE)["spec"]["predictor"]["deploymentStrategy"]
        assert replaced == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
        await kept.reconcile()


# --- what is about something else ------------------------------------------------------------------------------------


async def on_node(loop: Loop) -> None:
    """A pod of it has had a node for longer than a mount may take."""
    await asleep(loop)
    bind(loop)
    scale(loop, 1)
    pod(loop, node="n1", age=600)


@pytest.mark.parametrize("reason", ["Pulling", "Pulled", "Created", "FailedCreatePodSandBox"])
async def test_a_mount_that_has_succeeded_since_is_no_trouble(kept: Loop, reason: str) -> None:
    await on_node(kept)
    happened(kept, "FailedMount", 'MountVolume.SetUp failed for volume "pv-1"', ago=590)
    happened(kept, reason, "", ago=500)
    await kept.settle()
    assert mounts(kept)


async def test_a_mount_that_fails_again_after_it_has_succeeded_is_trouble(kept: Loop) -> None:
    await on_node(kept)
    happened(kept, "Pulling", "", ago=500)
    happened(kept, "FailedMount", 'MountVolume.SetUp failed for volume "pv-1"', ago=10)
    await kept.settle()
    assert not mounts(kept)


@pytest.mark.parametrize(
    "container",
    [
        {"state": {"terminated": {"exitCode": 0}}},
        {"state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 1}}},
        {"state": {"waiting": {}}, "containerID": "containerd://1"},
    ],
)
async def test_where_a_container_has_run_the_volumes_were_mounted(kept: Loop, container: Object) -> None:
    await on_node(kept)
    there = kept.api.get(POD, name=POD_NAME)
    there["status"] |= {"containerStatuses": [{"name": "kserve-container", **container}]}
    kept.api.put(there)
    happened(kept, "FailedMount", 'MountVolume.SetUp failed for volume "pv-1"', ago=590)
    await kept.settle()
    assert mounts(kept)


async def test_a_mount_of_another_volume_is_none_of_ours(kept: Loop) -> None:
    await on_node(kept)
    listed = "unmounted volumes=[weights], unattached volumes=[weights slipway-compiled], failed to process volumes=[]"
    happened(kept, "FailedMount", f"Unable to attach or mount volumes: {listed}: timed out waiting for the condition")
    await kept.settle()
    assert mounts(kept)


@pytest.mark.parametrize("is_bound", [True, False])
async def test_what_the_scheduler_says_of_another_claim_costs_no_cache(kept: Loop, *, is_bound: bool) -> None:
    await asleep(kept)
    if is_bound:
        bind(kept)
    scale(kept, 1)
    pod(kept, message='0/2 nodes are available: persistentvolumeclaim "models" not found.')
    await kept.settle()
    kept.time += timedelta(hours=1)
    await kept.settle()
    assert mounts(kept)


async def test_while_the_models_own_claim_is_not_bound_ours_is_not_given_up(kept: Loop) -> None:
    kept.api.change(PERSISTENT_VOLUME_CLAIM, {"status": {"phase": "Pending"}}, name="models")
    await waking(kept, message="0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.")
    kept.time += timedelta(hours=1)
    await kept.settle()
    assert mounts(kept)
    kept.api.change(PERSISTENT_VOLUME_CLAIM, {"status": {"phase": "Bound"}}, name="models")
    await kept.settle()
    assert not mounts(kept)


async def test_a_bound_claim_is_not_what_a_pod_with_an_unbound_one_waits_for(kept: Loop) -> None:
    await asleep(kept)
    bind(kept)
    scale(kept, 1)
    pod(kept, message="0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.")
    await kept.settle()
    kept.time += timedelta(hours=1)
    await kept.settle()
    assert mounts(kept)
