"""Clusters with one LLMDeployment, as a command-line tool reads them: recorded ones with the status that the operator
writes of them, and small ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slipway.api.llmdeployment import LLMDeployment
from slipway.objects.kinds import CORE_EVENT, DEPLOYMENT, INFERENCE_SERVICE, POD, REPLICA_SET, Object, kind_of
from slipway.observing.observation import observe
from slipway.observing.snapshot import Snapshot
from slipway.observing.status import status_of
from slipway_cli.cluster.world import World

from support.builders import recorded_snapshots
from support.builders.llmdeployments import NAME
from support.builders.plans import plan

RECORDED_KINDS = (POD, CORE_EVENT, INFERENCE_SERVICE, DEPLOYMENT, REPLICA_SET)
RECORDED = Path(__file__).parents[2] / "unit/observing/fixtures"


def recorded(name: str) -> tuple[Object, list[Object], Snapshot]:
    """An LLMDeployment with its status, the other objects, and the snapshot that they were recorded as."""
    snapshot = recorded_snapshots.load(RECORDED / f"{name}.json")
    others = [*snapshot.deployments, *snapshot.replica_sets, *snapshot.pods, *snapshot.events]
    others += [snapshot.inference_service] if snapshot.inference_service else []
    namespace = str(snapshot.deployments[0]["metadata"]["namespace"])
    llm = deployment(namespace=namespace)
    seen = observe(LLMDeployment.model_validate(llm), snapshot)
    status = status_of(1, plan(), seen, None, snapshot.now)
    return {**llm, "status": status}, others, snapshot


def recorded_world(name: str) -> World:
    llm, others, snapshot = recorded(name)
    objects = {kind: tuple(each for each in others if kind_of(each) == kind) for kind in RECORDED_KINDS}
    return World(now=snapshot.now, llm=llm, objects=objects)


def deployment(
    name: str = NAME,
    *,
    namespace: str = "chat",
    status: Object | None = None,
    spec: Object | None = None,
    **metadata: Any,
) -> Object:
    found: Object = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "generation": 1, **metadata},
        "spec": {"model": {"uri": "pvc://models/llama"}, **(spec or {})},
    }
    return {**found, "status": status} if status else found


def pod(name: str, owner: str, **metadata: Any) -> Object:
    """A ready replica of that model."""
    labels = {"slipway.dev/llmdeployment": owner}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "chat",
            "uid": f"uid-{name}",
            "labels": labels,
            "creationTimestamp": "2026-11-30T12:00:00Z",
            **metadata,
        },
        "spec": {"nodeName": "node-1"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def status(state: str, reason: str, message: str, *, ready: str = "True", replicas: int = 0, **more: Any) -> Object:
    """As the operator writes it."""
    conditions = [
        condition("Ready", ready, reason, message),
        condition("Stalled", "True" if state == "Failed" else "False", reason, message),
        condition("Reconciling", "False", "AsWanted", ""),
    ]
    return {
        "observedGeneration": 1,
        "state": state,
        "message": message,
        "conditions": conditions,
        "replicas": {"desired": replicas, "ready": replicas},
        **more,
    }


def condition(kind: str, value: str, reason: str, message: str) -> Object:
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-11-30T12:00:00Z",
        "observedGeneration": 1,
    }


IDLE = status("Idle", "ScaledToZero", "No replica runs because there are no requests; the next request wakes one.")
SERVING = status(
    "Serving",
    "Serving",
    "1 replica answers.",
    replicas=1,
    plan={"accelerator": "l4", "gpusPerReplica": 2, "maxConcurrency": 64},
    lastColdStart={"schedule": "1s", "pull": "2s", "start": "1s", "load": "6s", "ready": "800ms", "pod": "model-x"},
)
FAILED = status("Failed", "GpuOutOfMemory", "CUDA out of memory.", ready="False")
