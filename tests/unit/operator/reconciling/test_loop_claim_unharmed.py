"""The claim for compiled code in the operator's loop: kept when something else is wrong, and no harm to replicas."""

from __future__ import annotations

from datetime import timedelta

import pytest
from slipway.objects.kinds import (
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    STORAGE_CLASS,
    Object,
)
from support.builders.llmdeployments import merged
from support.builders.stored import kube_object
from support.programs.compile_claim_loop import (
    DEFAULT,
    NAME,
    OCCUPIED,
    POD_NAME,
    asleep,
    bind,
    cache,
    claim,
    end_pod,
    happened,
    mounts,
    pod,
    scale,
    second_pod,
    serving,
    vllm,
    waking,
)
from support.programs.operator_loop import Loop, status

# --- without harm ----------------------------------------------------------------------------------------------------


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


OLDER_WORDS = "didn't match PersistentVolume's node affinity"
WAITS = {"volumeBindingMode": "WaitForFirstConsumer"}
OF_STANDARD = {"spec": {"storageClassName": "standard"}}
FULL = "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had volume node affinity conflict."


def created(loop: Loop, *, after: float) -> Object:
    return {"metadata": {"creationTimestamp": f"{loop.time + timedelta(seconds=after):%Y-%m-%dT%H:%M:%SZ}"}}


async def full(loop: Loop, message: str) -> None:
    """The scheduler finds no node for longer than it may."""
    await asleep(loop)
    loop.api.change(PERSISTENT_VOLUME_CLAIM, created(loop, after=0), name=NAME)
    bind(loop)
    scale(loop, 1)
    pod(loop, message=message)
    await loop.settle()
    loop.time += timedelta(seconds=21)
    await loop.settle()


@pytest.mark.parametrize(
    ("of_class", "of_claim", "message", "is_kept"),
    [
        (WAITS, OF_STANDARD, FULL, True),
        (
            WAITS,
            OF_STANDARD,
            FULL.replace("had volume", "didn't match PersistentVolume's").removesuffix(" conflict."),
            True,
        ),
        (WAITS, {"spec": {"storageClassName": "shared"}}, FULL, False),
        ({"volumeBindingMode": "Immediate"}, OF_STANDARD, FULL, False),
        (WAITS, OF_STANDARD, f"{FULL} 1 node(s) exceed max volume count.", False),
    ],
)
async def test_where_the_models_own_volume_is_in_the_same_place_ours_is_not_given_up(
    kept: Loop, of_class: Object, of_claim: Object, message: str, *, is_kept: bool
) -> None:
    """Both were made for the same pods, where these were."""
    kept.api.change(STORAGE_CLASS, of_class, namespace="", name="standard")
    kept.api.change(PERSISTENT_VOLUME_CLAIM, of_claim | created(kept, after=-9), name="models")
    await full(kept, message)
    assert mounts(kept) is is_kept


async def test_a_volume_of_the_model_that_was_made_again_may_be_elsewhere(kept: Loop) -> None:
    kept.api.change(STORAGE_CLASS, WAITS, namespace="", name="standard")
    kept.api.change(PERSISTENT_VOLUME_CLAIM, OF_STANDARD | created(kept, after=1), name="models")
    await full(kept, FULL)
    assert not mounts(kept)


async def test_a_volume_that_the_model_has_had_only_since_then_may_be_elsewhere(kept: Loop) -> None:
    kept.api.change(STORAGE_CLASS, WAITS, namespace="", name="standard")
    older = {"spec": {"storageClassName": "standard"}, "status": {"phase": "Bound"}, **created(kept, after=-9)}
    kept.api.put(kube_object(PERSISTENT_VOLUME_CLAIM, "others", **older))
    await asleep(kept)
    kept.api.change(LLM_DEPLOYMENT, {"spec": {"model": {"uri": "pvc://others/llama"}}})
    await full(kept, FULL)
    assert not mounts(kept)


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
