"""What the cluster shows of a model, read with kubectl into a Snapshot; kept as a fixture, and read from one."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slipway.observing.causes import main_cause
from slipway.observing.snapshot import Snapshot

from support.kube import Kube, Object, WaitedInVainError
from support.provocations import NAME

Wanted = Callable[[Snapshot], bool]
KINDS = {"deployments": "deployments", "replica_sets": "replicasets", "pods": "pods"}
WATCHED = ("deployments", "replicasets", "pods", "events")


async def read_world(kube: Kube) -> Snapshot:
    """The namespace as it is now."""
    everything = await kube.select(",".join(["inferenceservices,events,nodes", *KINDS.values()]))
    return world_of(everything, now=datetime.now(UTC))


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


async def changing_worlds(kube: Kube) -> AsyncGenerator[Snapshot]:
    """The namespace as it is now, and again after every change in it."""
    changed = asyncio.Event()

    async def follow(kind: str) -> None:
        async with contextlib.aclosing(kube.watch(kind)) as events:
            async for _ in events:
                changed.set()

    followers = [asyncio.create_task(follow(kind)) for kind in WATCHED]
    try:
        while True:
            changed.clear()
            yield await read_world(kube)
            with contextlib.suppress(TimeoutError):  # some causes come with time alone
                await asyncio.wait_for(changed.wait(), 5)
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)


async def until(kube: Kube, wanted: Wanted, *, timeout: float = 60) -> Snapshot:
    """The first world that is as it is wanted; in vain, it says what was read off the last one."""
    last: Snapshot | None = None
    try:
        async with asyncio.timeout(timeout), contextlib.aclosing(changing_worlds(kube)) as seen:
            async for world in seen:
                last = world
                if wanted(world):
                    return world
    except TimeoutError:
        pass
    raise WaitedInVainError(f"after {timeout:.0f} s, what is read off is {main_cause(last) if last else 'nothing'}")


# --- fixtures --------------------------------------------------------------------------------------------------------


def save(world: Snapshot, path: Path) -> None:
    """As JSON, one object a line, without what nobody reads."""
    things = [world.inference_service, *world.deployments, *world.replica_sets, *world.pods, *_telling(world)]
    nodes = [node for node in (world.nodes or {}).values() if _runs_something(node, world)]
    lines = ",\n".join(json.dumps(_slim(thing), sort_keys=True) for thing in [*things, *nodes] if thing)
    path.write_text(f'{{"now": "{world.now:%Y-%m-%dT%H:%M:%SZ}", "objects": [\n{lines}\n]}}\n')


def load(path: Path) -> Snapshot:
    kept = json.loads(path.read_text())
    return world_of(kept["objects"], now=datetime.fromisoformat(kept["now"]))


def _telling(world: Snapshot) -> list[Object]:
    """Events that the diagnosis could read; of those that differ in a made-up name alone, one."""
    told = {(event["involvedObject"]["uid"], event["reason"], event["message"][:30]): event for event in world.events}
    return [event for event in told.values() if event["involvedObject"]["kind"] == "Pod"]


def _runs_something(node: Object, world: Snapshot) -> bool:
    return any(pod["spec"].get("nodeName") == node["metadata"]["name"] for pod in world.pods)


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
