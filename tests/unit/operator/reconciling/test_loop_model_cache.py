"""The claim for a model's files in the operator's loop: made, refused, given up or demanded, and kept by an upgrade."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from slipway.objects.kinds import EVENT, INFERENCE_SERVICE, LLM_DEPLOYMENT, SERVING_RUNTIME, STORAGE_CLASS
from support.builders.llmdeployments import merged
from support.builders.stored import kube_object
from support.programs.compile_claim_loop import UNPLACED, asleep, pod, scale
from support.programs.model_cache_loop import (
    FETCHING,
    NAME,
    bind_weights,
    fetched,
    fetching_loop,
    first_fetcher,
    keeps,
    model_cache,
    weights_claim,
)
from support.programs.operator_loop import Loop, state_and_reason, status

SIZE = "4Gi"  # of a model with 1 billion parameters in 16 bits

# --- made ------------------------------------------------------------------------------------------------------------


async def test_the_claim_is_made_before_the_pods_that_mount_it() -> None:
    loop = fetching_loop()
    await loop.reconcile()
    made = [str(each) for each in loop.api.requests if each.verb == "apply"]
    assert made.index("apply PersistentVolumeClaim") < made.index("apply InferenceService")
    assert model_cache(loop) == {
        "kind": "PVC",
        "claim": NAME,
        "storageClassName": "standard",
        "accessMode": "ReadWriteOncePod",
        "message": f"The model's files are kept on the volume of the claim {NAME}, for one replica at a time.",
    }
    found = weights_claim(loop)
    assert found
    assert found["spec"]["resources"] == {"requests": {"storage": SIZE}}
    assert found["metadata"]["ownerReferences"][0]["kind"] == "LLMDeployment"


async def test_the_fetcher_can_write_to_it_and_makes_room_where_no_other_pod_has_it() -> None:
    loop = fetching_loop()
    await loop.settle()
    predictor = loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"]
    assert predictor["securityContext"]["fsGroup"] == 1000
    key = first_fetcher(loop)["args"][1].rpartition("/")[2]
    assert first_fetcher(loop)["args"][-2:] == ["--remove-others=0", f"--keep={key}"]


async def test_replicas_that_share_it_remove_nothing() -> None:
    loop = fetching_loop({"scaling": {"maxReplicas": 3}})
    loop.api.put(kube_object(STORAGE_CLASS, "nfs", provisioner="nfs.csi.k8s.io"))
    await loop.settle()
    assert model_cache(loop)["accessMode"] == "ReadWriteMany"
    assert not any(each.startswith("--remove-others") for each in first_fetcher(loop)["args"])


async def test_files_that_a_claim_of_the_user_has_are_kept_nowhere_else() -> None:
    loop = fetching_loop()
    loop.api.put(fetched({"model": {"uri": "pvc://models/llama", "revision": None}}))
    await loop.settle()
    assert weights_claim(loop) is None
    assert "modelCache" not in status(loop)


async def test_without_a_class_each_replica_fetches_and_the_status_says_what_would_help() -> None:
    loop = fetching_loop()
    loop.delete(STORAGE_CLASS, namespace="", name="standard")
    await loop.settle()
    assert not keeps(loop)
    assert model_cache(loop)["kind"] == "None"
    assert "model.cache.storageClassName" in model_cache(loop)["message"]


async def test_kind_none_removes_the_claim_with_the_next_pods() -> None:
    loop = fetching_loop()
    await asleep(loop)
    loop.api.put(merged(loop.api.get(LLM_DEPLOYMENT), {"spec": {"model": {"cache": {"kind": "None"}}}}))
    await loop.settle()
    assert not keeps(loop)
    assert weights_claim(loop) is None


# --- what never waits for it -----------------------------------------------------------------------------------------


async def test_a_refused_claim_doesnt_stop_the_model() -> None:
    loop = fetching_loop()
    loop.api.faults["apply PersistentVolumeClaim"] = (403, "exceeded quota: requests.storage")
    await loop.settle()
    assert not keeps(loop)
    assert model_cache(loop)["givenUp"]["reason"] == "ClaimRefused"


async def test_a_claim_that_keeps_a_replica_from_all_nodes_is_given_up() -> None:
    loop = fetching_loop()
    await asleep(loop)
    bind_weights(loop)
    scale(loop, 1)
    pod(loop, message=UNPLACED)
    await loop.settle()
    loop.time += timedelta(seconds=21)
    for _ in range(5):
        await loop.reconcile()
    assert not keeps(loop)
    assert weights_claim(loop) is None
    assert model_cache(loop)["givenUp"]["reason"] == "VolumeElsewhere"
    assert "ModelCacheGivenUp" in [each.body["reason"] for each in loop.api.requests if each.kind == EVENT]
    assert loop.memories.by_cache("modelCache") == {("None", "VolumeElsewhere"): 1}


# --- what the spec demands -------------------------------------------------------------------------------------------


async def test_a_claim_that_the_spec_demands_is_never_given_up() -> None:
    loop = fetching_loop(kind="PVC")
    await asleep(loop)
    scale(loop, 1)
    pod(loop, message="0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", age=300)
    await loop.settle()
    assert keeps(loop)
    assert "givenUp" not in model_cache(loop)
    assert "VolumeNotReady" in str(status(loop)["conditions"])


async def test_the_status_says_why_a_claim_that_the_spec_demands_was_refused() -> None:
    loop = fetching_loop(kind="PVC")
    loop.api.faults["apply PersistentVolumeClaim"] = (403, "exceeded quota: requests.storage")
    await loop.failing_reconcile()
    assert keeps(loop)
    assert state_and_reason(loop) == ("Failed", "QuotaExceeded")


# --- what restarts nothing -------------------------------------------------------------------------------------------


async def serving(loop: Loop) -> None:
    await asleep(loop)
    if weights_claim(loop):
        bind_weights(loop)
    scale(loop, 1)
    pod(loop, node="n1", is_ready=True)
    await loop.settle()


async def test_a_class_that_comes_later_restarts_no_pod_and_is_used_once_the_model_sleeps() -> None:
    loop = fetching_loop()
    standard = loop.api.get(STORAGE_CLASS, namespace="", name="standard")
    loop.delete(STORAGE_CLASS, namespace="", name="standard")
    await serving(loop)
    before = loop.api.get(INFERENCE_SERVICE)
    loop.api.put(standard)
    await loop.settle()
    assert loop.api.get(INFERENCE_SERVICE) == before
    assert "only while no replica runs" in model_cache(loop)["message"]


async def test_pods_that_another_version_has_made_keep_what_they_have() -> None:
    older = fetching_loop(installation=replace(FETCHING, version="1"))
    await serving(older)
    before = older.api.get(INFERENCE_SERVICE)
    newer = Loop(installation=replace(FETCHING, version="2"), api=older.api)
    await newer.settle()
    assert newer.api.get(INFERENCE_SERVICE) == before
    assert keeps(newer)


async def test_a_record_without_the_cache_of_the_spec_restarts_nothing() -> None:
    older = fetching_loop(installation=replace(FETCHING, version="1"), kind="None")
    await serving(older)
    live = older.api.get(LLM_DEPLOYMENT)
    made = {name: value for name, value in live["status"]["made"].items() if name != "modelCache"}
    older.api.put({**live, "status": {**live["status"], "made": made}})
    before = older.api.get(INFERENCE_SERVICE)
    newer = Loop(installation=replace(FETCHING, version="2"), api=older.api)
    await newer.settle()
    assert newer.api.get(INFERENCE_SERVICE) == before
    assert status(newer)["made"]["modelCache"] == '{"kind":"None"}'


# --- who can write to it ---------------------------------------------------------------------------------------------


async def test_a_runtime_of_the_user_that_names_no_user_gets_a_claim_only_if_the_spec_demands_it() -> None:
    own = {"engine": {"name": "mine", "compileCache": None, "contextLength": None}}
    loop = fetching_loop(own)
    container = {"name": "kserve-container", "image": "registry.example.com/mine:1"}
    formats = [{"name": "huggingface"}]
    runtime = {"supportedModelFormats": formats, "containers": [container]}
    loop.api.put(kube_object(SERVING_RUNTIME, "mine", namespace="chat", spec=runtime))
    await asleep(loop)
    assert not keeps(loop)
    assert "runAsUser" in model_cache(loop)["message"]
    loop.api.put(merged(loop.api.get(LLM_DEPLOYMENT), {"spec": {"model": {"cache": {"kind": "PVC"}}}}))
    await loop.settle()
    assert keeps(loop)
