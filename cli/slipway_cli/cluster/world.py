"""What a cluster shows of one LLMDeployment at one moment, and what of it could not be read. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from slipway.api.names import COMPILATION_SUFFIX, INSPECTION_SUFFIX, OWNER_LABEL, SERVICE_LABEL
from slipway.objects.kinds import (
    CORE_EVENT,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    HORIZONTAL_POD_AUTOSCALER,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    POD,
    REPLICA_SET,
    SCALED_OBJECT,
    SERVICE,
    SERVING_RUNTIME,
    Kind,
    Object,
)

LOST = {
    POD: "why a replica doesn't start isn't seen",
    CORE_EVENT: "what the scheduler and the nodes report isn't seen",
    INFERENCE_SERVICE: "what KServe reports isn't seen",
    DEPLOYMENT: "whether pods could be created isn't seen",
    REPLICA_SET: "whether pods could be created isn't seen",
    SERVICE: "the address isn't seen",
    ENDPOINT_SLICE: "where requests go isn't seen",
    SCALED_OBJECT: "what KEDA reports isn't seen",
    SERVING_RUNTIME: "whether the engine is one of the namespace isn't seen",
    HORIZONTAL_POD_AUTOSCALER: "what the autoscaler reports isn't seen",
}
"""What an answer lacks without the right to read objects of a kind."""


@dataclass(frozen=True, kw_only=True)
class World:
    now: datetime
    llm: Object
    objects: Mapping[Kind, tuple[Object, ...]] = field(default_factory=dict)
    unreadable: Mapping[Kind, str] = field(default_factory=dict)  # why: Forbidden, NoKind…

    @property
    def name(self) -> str:
        return str(self.llm["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.llm["metadata"].get("namespace") or "default")

    @property
    def status(self) -> Object:
        return self.llm.get("status") or {}

    def of(self, kind: Kind) -> tuple[Object, ...]:
        return self.objects.get(kind, ())

    def one(self, kind: Kind, name: str = "") -> Object | None:
        found = (each for each in self.of(kind) if each["metadata"]["name"] == (name or self.name))
        return next(found, None)

    def gaps(self) -> Iterator[str]:
        """Sentences on what can't be seen, and what that costs; a kind that isn't installed is no gap."""
        for kind, word in self.unreadable.items():
            if word != "NoKind":
                yield f"{kind.plural} can't be read ({word}), so {LOST.get(kind, 'it is left out')}."


def path_of(name: str, namespace: str) -> str:
    """The list that has one LLMDeployment, which can be watched."""
    return f"{LLM_DEPLOYMENT.path(namespace)}?fieldSelector=metadata.name%3D{quote(name)}"


def path_of_replicas(name: str, namespace: str) -> str:
    """Its pods, without those of Jobs."""
    return f"{POD.path(namespace)}?labelSelector={OWNER_LABEL}%3D{quote(name)}"


def paths_of(name: str, namespace: str) -> dict[Kind, str]:
    """Where the API server has the objects of one LLMDeployment."""
    owned = f"?labelSelector={OWNER_LABEL}%3D{name}"
    pods = f"?labelSelector={OWNER_LABEL}%20in%20({name},{name}{INSPECTION_SUFFIX},{name}{COMPILATION_SUFFIX})"
    return {
        POD: POD.path(namespace) + pods,
        CORE_EVENT: f"{CORE_EVENT.path(namespace)}?limit=2000",
        INFERENCE_SERVICE: f"{INFERENCE_SERVICE.path(namespace)}?fieldSelector=metadata.name%3D{name}",
        DEPLOYMENT: DEPLOYMENT.path(namespace) + owned,
        REPLICA_SET: REPLICA_SET.path(namespace) + owned,
        SERVICE: f"{SERVICE.path(namespace)}?fieldSelector=metadata.name%3D{name}",
        ENDPOINT_SLICE: f"{ENDPOINT_SLICE.path(namespace)}?labelSelector={SERVICE_LABEL}%3D{name}",
        SCALED_OBJECT: f"{SCALED_OBJECT.path(namespace)}?fieldSelector=metadata.name%3D{name}",
        HORIZONTAL_POD_AUTOSCALER: HORIZONTAL_POD_AUTOSCALER.path(namespace) + owned,
    }


def owner_of(thing: Object) -> str:
    return str((thing["metadata"].get("labels") or {}).get(OWNER_LABEL, ""))


def events_about(world: World) -> list[Object]:
    """Those about the LLMDeployment or an object of it, the oldest first."""
    uids = {world.llm["metadata"].get("uid")}
    for kind, found in world.objects.items():
        if kind is not CORE_EVENT:
            uids |= {each["metadata"].get("uid") for each in found}
    own = [each for each in world.of(CORE_EVENT) if (each.get("involvedObject") or {}).get("uid") in uids]
    return sorted(own, key=time_of)


def time_of(event: Object) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return str(next((each for each in times if each), event["metadata"].get("creationTimestamp") or ""))


def logged_containers(pod: Object, *, previous: bool) -> Iterator[str]:
    """Those that have a log; `previous`: of the run before their last restart."""
    status = pod.get("status") or {}
    for each in (*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])):
        state, last = each.get("state") or {}, each.get("lastState") or {}
        if ("terminated" in last) if previous else ("waiting" not in state or "terminated" in last):
            yield each["name"]
