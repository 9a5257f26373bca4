"""Small Kubernetes objects for tests of what the operator reads from them; each differs from a healthy start in one
respect only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from slipway.objects.kinds import Object
from slipway.observing.snapshot import Snapshot

CREATED, SCHEDULED, PULLED = "2026-11-21T10:00:00Z", "2026-11-21T10:00:01Z", "2026-11-21T10:00:31Z"
STARTED, READY = "2026-11-21T10:00:33Z", "2026-11-21T10:00:45Z"
NOW = datetime(2026, 11, 21, 10, 1, 0, tzinfo=UTC)
ENGINE = "kserve-container"


def pod(name: str = "model-1", *, ready: bool = False, **status: Any) -> Object:
    """A pod on the node `gpu-1`; it is loading unless it is ready."""
    conditions = [
        condition("PodScheduled", True, SCHEDULED),
        condition("Ready", ready, READY if ready else SCHEDULED),
    ]
    return {
        "kind": "Pod",
        "metadata": {"name": name, "uid": name, "creationTimestamp": CREATED},
        "spec": {"nodeName": "gpu-1", "containers": [{"name": ENGINE, "image": "engine:1"}]},
        "status": {
            "phase": "Running",
            "conditions": conditions,
            "containerStatuses": [container(ready=ready)],
            **status,
        },
    }


def container(*, ready: bool = False, **status: Any) -> Object:
    return {
        "name": ENGINE,
        "ready": ready,
        "started": ready,
        "restartCount": 0,
        "state": {"running": {"startedAt": STARTED}},
        "lastState": {},
        **status,
    }


def ended(message: str = "", *, reason: str = "Error", code: int = 1, at: str = STARTED) -> Object:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": at}}


def condition(kind: str, holds: bool, since: str = CREATED, **words: str) -> Object:
    return {"type": kind, "status": str(holds), "lastTransitionTime": since, **words}


def unscheduled(message: str, name: str = "model-1") -> Object:
    unplaced = pod(name, phase="Pending", conditions=[], containerStatuses=[])
    del unplaced["spec"]["nodeName"]
    unplaced["status"]["conditions"] = [
        condition("PodScheduled", False, SCHEDULED, reason="Unschedulable", message=message)
    ]
    return unplaced


def event(about: Object, reason: str, message: str, *, at: str = PULLED, kind: str = "Warning") -> Object:
    return {
        "kind": "Event",
        "metadata": {"name": f"{reason}-{at}", "creationTimestamp": at},
        "involvedObject": {"kind": about["kind"], "name": about["metadata"]["name"], "uid": about["metadata"]["uid"]},
        "type": kind,
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
    }


def deployment(replicas: int, *, pods: int | None = None, updated: int | None = None, **status: Any) -> Object:
    """KServe's Deployment, with this many pods, `updated` of them of the newest version."""
    there = replicas if pods is None else pods
    counts = {"replicas": there, "updatedReplicas": there if updated is None else updated}
    return {
        "kind": "Deployment",
        "metadata": {"name": "model-predictor", "uid": "deployment"},
        "spec": {"replicas": replicas},
        "status": {**counts, **status},
    }


def service(name: str = "model", **metadata: Any) -> Object:
    known = {"name": name, "namespace": "chat", **metadata}
    return {"kind": "Service", "metadata": known, "spec": {"ports": [{"port": 80}]}}


def node(name: str = "gpu-1", *, ready: bool = True, message: str = "kubelet is posting ready status") -> Object:
    conditions = [condition("Ready", ready, SCHEDULED, message=message)]
    return {"kind": "Node", "metadata": {"name": name}, "status": {"conditions": conditions}}


def snapshot(*pods: Object, **more: Any) -> Snapshot:
    """A snapshot with these pods, as many as the Deployment wants."""
    more.setdefault("deployments", (deployment(len(pods)),))
    more.setdefault("service", service())
    return Snapshot(now=more.pop("now", NOW), pods=pods, **more)
