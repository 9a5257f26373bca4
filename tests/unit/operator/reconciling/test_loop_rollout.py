"""Reconciles during a rollout: a lack of room is learnt, and forgotten after it."""

from __future__ import annotations

from typing import Any

from slipway.objects.kinds import DEPLOYMENT, INFERENCE_SERVICE, LLM_DEPLOYMENT, POD, Object
from support.builders.stored import llm, made_by_kserve, pod
from support.programs.operator_loop import Loop, status

PREDICTOR = "llama-predictor"
FULL = {"reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."}


def unplaced() -> Object:
    """A pod of the new version that the scheduler can't place."""
    waiting = pod(is_ready=False)
    placed = {"type": "PodScheduled", "status": "False", "lastTransitionTime": "2026-11-21T09:59:00Z", **FULL}
    return {
        **waiting,
        "metadata": {**waiting["metadata"], "name": "llama-predictor-2"},
        "status": {"phase": "Pending", "conditions": [placed]},
    }


def placed() -> Object:
    """A ready replica on a node."""
    replica = pod(is_ready=True)
    return {**replica, "spec": {**replica["spec"], "nodeName": "node-1"}}


def strategy(loop: Loop) -> str:
    found: Any = loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"]["deploymentStrategy"]
    return str(found["type"])


async def test_without_room_the_old_replica_is_removed_first_until_the_new_one_is_ready(loop: Loop) -> None:
    loop.api.put(llm(scaling={"autoscaler": "None", "minReplicas": 1}))
    loop.api.put(made_by_kserve(1))
    loop.api.put(placed())
    await loop.settle()
    assert strategy(loop) == "RollingUpdate"

    loop.api.change(DEPLOYMENT, {"status": {"replicas": 2, "updatedReplicas": 1}}, name=PREDICTOR)
    loop.api.put(unplaced())
    await loop.reconcile()
    assert loop.api.writes() == ["apply InferenceService", "apply-status LLMDeployment", "create Event"]
    assert strategy(loop) == "Recreate"
    assert status(loop)["state"] == "Updating"

    loop.api.remove(POD, name="llama-predictor-1")
    loop.api.change(DEPLOYMENT, {"status": {"replicas": 1, "updatedReplicas": 1}}, name=PREDICTOR)
    await loop.reconcile()
    assert strategy(loop) == "Recreate"
    assert "Unschedulable" not in str(status(loop)["conditions"])

    ready = pod(is_ready=True)["status"]
    loop.api.change(POD, {"status": {**ready, "phase": "Running"}}, name="llama-predictor-2")
    await loop.settle()
    assert strategy(loop) == "RollingUpdate"
    assert status(loop)["state"] == "Serving"
    await loop.reconcile()
    assert loop.api.requests == []


async def test_a_strategy_that_another_client_set_in_between_is_corrected(loop: Loop) -> None:
    loop.api.put(llm(scaling={"autoscaler": "None", "minReplicas": 1}))
    loop.api.put(made_by_kserve(1))
    loop.api.put(pod(is_ready=True))
    await loop.settle()
    theirs = {"deploymentStrategy": {"type": "Recreate", "rollingUpdate": None}}
    loop.api.change(INFERENCE_SERVICE, {"spec": {"predictor": theirs}})
    await loop.reconcile()
    assert strategy(loop) == "RollingUpdate"
    assert loop.api.get(LLM_DEPLOYMENT)["status"]["state"] == "Serving"
