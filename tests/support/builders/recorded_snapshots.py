"""Snapshots that were recorded on a real cluster: written to files, and read from them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from slipway.observing.snapshot import Snapshot

from support.builders.llmdeployments import NAME
from support.builders.objects import Object


def world_of(everything: list[Object], *, now: datetime) -> Snapshot:
    def of(kind: str) -> tuple[Object, ...]:
        return tuple(thing for thing in everything if thing["kind"] == kind)

    services = [thing for thing in of("InferenceService") if thing["metadata"]["name"] == NAME]
    return Snapshot(
        now=now,
        inference_service=next(iter(services), None),
        deployments=of("Deployment"),
        replica_sets=of("ReplicaSet"),
        pods=of("Pod"),
        events=of("Event"),
        nodes={node["metadata"]["name"]: node for node in of("Node")},
    )


# --- fixtures --------------------------------------------------------------------------------------------------------


def save(snapshot: Snapshot, path: Path) -> None:
    """Writes a snapshot as JSON, one object per line, without the fields that no code reads."""
    things = [
        snapshot.inference_service,
        *snapshot.deployments,
        *snapshot.replica_sets,
        *snapshot.pods,
        *_telling(snapshot),
    ]
    nodes = [node for node in (snapshot.nodes or {}).values() if _runs_something(node, snapshot)]
    lines = ",\n".join(json.dumps(_slim(thing), sort_keys=True) for thing in [*things, *nodes] if thing)
    path.write_text(f'{{"now": "{snapshot.now:%Y-%m-%dT%H:%M:%SZ}", "objects": [\n{lines}\n]}}\n')


def load(path: Path) -> Snapshot:
    kept = json.loads(path.read_text())
    return world_of(kept["objects"], now=datetime.fromisoformat(kept["now"]))


def _telling(snapshot: Snapshot) -> list[Object]:
    """Returns the events that the diagnosis could read; of events that differ only in generated names, one."""
    distinct = {
        (event["involvedObject"]["uid"], event["reason"], event["message"][:30]): event for event in snapshot.events
    }
    return [event for event in distinct.values() if event["involvedObject"]["kind"] == "Pod"]


def _runs_something(node: Object, snapshot: Snapshot) -> bool:
    return any(pod["spec"].get("nodeName") == node["metadata"]["name"] for pod in snapshot.pods)


KEPT = {
    "metadata": {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "finalizers", "labels"},
    "spec": {"nodeName", "containers", "initContainers", "replicas", "predictor"},
    "status": {
        "conditions", "phase", "reason", "message", "containerStatuses", "initContainerStatuses",
        "replicas", "readyReplicas", "updatedReplicas", "modelStatus",
    },
}  # fmt: skip
NOISE = {
    "volumeMounts", "command", "imagePullPolicy", "terminationMessagePath", "terminationMessagePolicy", "containerID",
    "imageID", "allocatedResources", "volumes", "user", "lastHeartbeatTime", "lastProbeTime", "lastUpdateTime",
    "reportingComponent", "reportingInstance", "source", "observedGeneration",
}  # fmt: skip


def _slim(thing: Object) -> Object:
    return {name: _part(name, value) for name, value in thing.items() if name not in NOISE}


def _part(name: str, value: Any) -> Any:
    kept = KEPT.get(name)
    if kept and isinstance(value, dict):
        value = {each: value[each] for each in value if each in kept}
    return _without_noise(value)


def _without_noise(thing: Any) -> Any:
    match thing:
        case dict():
            return {name: _without_noise(value) for name, value in thing.items() if name not in NOISE}
        case list():
            return [_without_noise(each) for each in thing]
    return thing
