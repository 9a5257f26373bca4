"""The claim for compiled code in the operator's loop: given up if it stops a replica, and tried again."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta

import pytest
from slipway.kube.errors import KubeError
from slipway.kube.work_queue import RetryLaterError
from slipway.objects.kinds import (
    EVENT,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    POD,
)
from support.builders.llmdeployments import merged
from support.programs.compile_claim_loop import (
    CROWDED,
    NAME,
    OCCUPIED,
    POD_NAME,
    UNPLACED,
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
    waking,
)
from support.programs.operator_loop import Loop

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
    assert kept.memories.by_cache("compileCache") == {("EmptyDir", "ClaimNotBound"): 1}


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
