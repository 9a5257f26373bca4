"""The objects of a model as a tree, with the state of each, and the cause at the one that fails. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from slipway.objects.conditions import condition, is_true
from slipway.objects.kinds import (
    DEPLOYMENT,
    ENDPOINT_SLICE,
    HORIZONTAL_POD_AUTOSCALER,
    INFERENCE_SERVICE,
    POD,
    REPLICA_SET,
    SCALED_OBJECT,
    SERVICE,
    Object,
)
from slipway.observing.pods import cause_of_pod
from slipway.observing.snapshot import Snapshot

from slipway_cli.cluster.observed import snapshot_of
from slipway_cli.cluster.state import State, age_of
from slipway_cli.cluster.world import World, owner_of

Mark = Literal["good", "bad", "waiting", "idle"]
SIGNS = {"good": "✓", "bad": "✗", "waiting": "…", "idle": "-"}


@dataclass(frozen=True)
class Node:
    label: str
    says: str
    mark: Mark
    children: tuple[Node, ...] = ()
    cause: str = ""


@dataclass(frozen=True)
class Line:
    """`frame`: the branches before the sign."""

    frame: str
    mark: Mark
    label: str
    says: str
    is_cause: bool = False


def tree_of(world: World) -> Node:
    state, snapshot = State(world.llm), snapshot_of(world)
    says = f"{state.word}, {state.ready}/{state.desired} ready: {state.message}"
    children = [*_of_kserve(world, snapshot), *_of_service(world), *_of_scaling(world), *_of_jobs(world, snapshot)]
    return Node(f"llm/{world.name}", says, _mark_of(state), tuple(children))


def _mark_of(state: State) -> Mark:
    if state.word == "Idle":
        return "idle" if state.is_well else "bad"
    if not state.is_well:
        return "bad"
    return "good" if state.word == "Serving" else "waiting"


def _of_kserve(world: World, snapshot: Snapshot) -> Iterator[Node]:
    makers = tuple(_deployment(each, world, snapshot) for each in world.of(DEPLOYMENT))
    service = world.one(INFERENCE_SERVICE)
    if service is None:
        yield from makers
        return
    says = "KServe has made its Deployment" if makers else "KServe has made no Deployment yet"
    yield Node(f"inferenceservice/{world.name}", says, "good" if makers else "waiting", makers)


def _deployment(raw: Object, world: World, snapshot: Snapshot) -> Node:
    wanted, ready = int(raw["spec"].get("replicas", 1)), int((raw.get("status") or {}).get("readyReplicas") or 0)
    sets = [each for each in world.of(REPLICA_SET) if _is_owned(each, raw) and _has_pods(each, world)]
    children = tuple(_replica_set(each, world, snapshot) for each in sets)
    failure = condition(raw, "ReplicaFailure") or {}
    cause = str(failure.get("message") or "") if failure.get("status") == "True" else ""
    return Node(
        f"deployment/{raw['metadata']['name']}", f"{ready}/{wanted} ready", _counted(ready, wanted), children, cause
    )


def _counted(ready: int, wanted: int) -> Mark:
    if not wanted:
        return "idle"
    return "good" if ready >= wanted else "waiting"


def _has_pods(replica_set: Object, world: World) -> bool:
    return int(replica_set["spec"].get("replicas") or 0) > 0 or any(_is_owned(p, replica_set) for p in world.of(POD))


def _replica_set(raw: Object, world: World, snapshot: Snapshot) -> Node:
    wanted, ready = int(raw["spec"].get("replicas") or 0), int((raw.get("status") or {}).get("readyReplicas") or 0)
    pods = tuple(_pod(each, world, snapshot) for each in world.of(POD) if _is_owned(each, raw))
    return Node(f"replicaset/{raw['metadata']['name']}", f"{ready}/{wanted} ready", _counted(ready, wanted), pods)


def _pod(raw: Object, world: World, snapshot: Snapshot) -> Node:
    status = raw.get("status") or {}
    found = cause_of_pod(raw, snapshot)
    is_ready = is_true(raw, "Ready")
    node = (raw.get("spec") or {}).get("nodeName") or "no node"
    created = age_of(raw, world.now)
    leaves = "stopping" if "deletionTimestamp" in raw["metadata"] else str(status.get("phase") or "")
    containers = tuple(_containers(status))
    mark: Mark = "good" if is_ready else "bad" if found and found.final else "waiting"
    cause = f"{found.reason}: {found.message}" if found else ""
    return Node(f"pod/{raw['metadata']['name']}", f"{leaves}, {node}, {created}", mark, containers, cause)


def _containers(status: Object) -> Iterator[Node]:
    for kind in ("initContainerStatuses", "containerStatuses"):
        for each in status.get(kind) or []:
            says, mark = _container(each)
            yield Node(f"container {each['name']}", says, mark)


def _container(status: Object) -> tuple[str, Mark]:
    state, restarts = status.get("state") or {}, status.get("restartCount") or 0
    again = f", {restarts} restart{'s' if restarts != 1 else ''}" if restarts else ""
    if "running" in state:
        return (f"ready{again}", "good") if status.get("ready") else (f"running{again}", "waiting")
    if ended := state.get("terminated"):
        code = ended.get("exitCode")
        return ("done", "good") if not code else (f"ended with exit code {code}{again}", "bad")
    waiting = (state.get("waiting") or {}).get("reason") or "not started"
    is_normal = waiting in ("PodInitializing", "ContainerCreating", "not started")
    return f"{waiting}{again}", "waiting" if is_normal else "bad"


def _of_service(world: World) -> Iterator[Node]:
    service = world.one(SERVICE)
    if service is None:
        return
    slices = []
    for each in world.of(ENDPOINT_SLICE):
        count = sum(1 for end in each.get("endpoints") or [] if (end.get("conditions") or {}).get("ready") is not False)
        is_activator = each["metadata"]["name"] == f"{world.name}-activator"
        says = f"{count} {'of the activator, which holds requests' if is_activator else 'ready replicas'}"
        slices.append(Node(f"endpointslice/{each['metadata']['name']}", says, "good" if count else "idle"))
    leads = any(each.mark == "good" for each in slices)
    yield Node(
        f"service/{world.name}",
        "leads somewhere" if leads else "leads nowhere",
        "good" if leads else "bad",
        tuple(slices),
    )


def _of_scaling(world: World) -> Iterator[Node]:
    scalers = tuple(_hpa(each) for each in world.of(HORIZONTAL_POD_AUTOSCALER))
    scaled = world.one(SCALED_OBJECT)
    if scaled is None:
        yield from scalers
        return
    ready, active = condition(scaled, "Ready") or {}, condition(scaled, "Active") or {}
    says = "active" if active.get("status") == "True" else "not active"
    failed = ready.get("status") == "False"
    cause = str(ready.get("message") or "") if failed else ""
    yield Node(f"scaledobject/{world.name}", says, "bad" if failed else "good", scalers, cause)


def _hpa(raw: Object) -> Node:
    status = raw.get("status") or {}
    says = f"{status.get('currentReplicas', 0)} replicas, {status.get('desiredReplicas', 0)} wanted"
    return Node(f"horizontalpodautoscaler/{raw['metadata']['name']}", says, "good")


def _of_jobs(world: World, snapshot: Snapshot) -> Iterator[Node]:
    for each in world.of(POD):
        if owner_of(each) != world.name:
            yield _pod(each, world, snapshot)


def _is_owned(child: Object, owner: Object) -> bool:
    owners = child["metadata"].get("ownerReferences") or []
    return any(each.get("uid") == owner["metadata"].get("uid") for each in owners)


# --- lines -----------------------------------------------------------------------------------------------------------


@dataclass
class _Drawing:
    lines: list[Line] = field(default_factory=list)

    def add(self, node: Node, frame: str, below: str) -> None:
        self.lines.append(Line(frame, node.mark, node.label, node.says))
        if node.cause:
            self.lines.append(Line(f"{below}{'│ ' if node.children else '  '}", "bad", "", node.cause, is_cause=True))
        for at, child in enumerate(node.children):
            is_last = at == len(node.children) - 1
            self.add(child, f"{below}{'└─ ' if is_last else '├─ '}", f"{below}{'   ' if is_last else '│  '}")


def lines_of(node: Node) -> list[Line]:
    drawing = _Drawing()
    drawing.add(node, "", "")
    return drawing.lines
