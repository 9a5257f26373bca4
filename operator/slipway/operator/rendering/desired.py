"""What rendering is told of the cluster, and what it answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from slipway.api import names
from slipway.api.reasons import Reason
from slipway.operator.planning import Plan

Object = dict[str, Any]

POD_MONITOR = "PodMonitor.monitoring.coreos.com"
SCALED_OBJECT = "ScaledObject.keda.sh"


@dataclass(frozen=True, kw_only=True)
class World:
    """What of the cluster decides how objects look."""

    serving_runtime: Object | None  # the (Cluster)ServingRuntime that the plan names
    pods_runtime: Object | None = None  # the one that the live InferenceService names
    inference_service: Object | None = None  # the live one, if there is one
    deployment: Object | None = None  # that KServe made for it
    kinds: frozenset[str] = frozenset()  # optional kinds that the cluster knows, as Kind.group
    slipway_namespace: str = "slipway-system"
    prometheus_namespaces: tuple[str, ...] = ("monitoring",)  # those of them that may read metrics
    scaled_object: Object | None = None  # ours, as long as it is there
    autoscaler: Object | None = None  # the same of the HorizontalPodAutoscaler
    activator: tuple[str, ...] | None = None  # where its replicas are; None: it isn't installed
    activator_service: str = names.ACTIVATOR_SERVICE  # by which KEDA asks it; its ServiceAccount has the same name
    activator_port: int | None = None  # its port for this deployment, once it has one
    activator_reads_keys: bool | None = None  # whether it may read access.apiKeysSecret; None: nobody knows
    has_ready: bool = False  # whether a replica of the model is ready
    has_pods: bool = False  # whether pods of it are on nodes
    has_missing: bool = False  # whether not all replicas are ready, or not all of the newest version
    is_updating: bool = False  # whether pods of an older version are there
    lacks_room: bool = False  # whether the new version has no place beside them
    now: datetime | None = None  # the time of day, for the schedule
    version: str = ""  # of Slipway
    status: Object = field(default_factory=dict)  # of the LLMDeployment, as it was last written


@dataclass(frozen=True)
class ObjectReference:
    api_version: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True)
class ReplicaBounds:
    """A Deployment whose replicas Slipway itself keeps within bounds, through the scale subresource.

    Only where nobody else does it: replicas have one writer. KServe's class `external` leaves the count alone.
    """

    deployment: str
    at_least: int
    at_most: int


@dataclass(frozen=True, kw_only=True)
class Desired:
    apply: tuple[Object, ...]  # in this order
    delete: tuple[ObjectReference, ...] = ()  # those of them that are ours
    replicas: ReplicaBounds | None = None
    remarks: tuple[str, ...] = ()  # a sentence for what holds just now, and for each wish that isn't carried out
    look_again_at: datetime | None = None  # from then on, it may be something else
    plan: Plan | None = None  # by which the pods are made that there are to be
    made: Object | None = None  # what makes them, for the status
    update: Object | None = None  # what this version would make differently, for the status


@dataclass(frozen=True)
class Unrenderable:
    """Nothing is applied, and what is there stays as it is; the message is one sentence with the remedy."""

    reason: Reason
    message: str


class Refusal(Exception):  # noqa: N818 - not an error of the program
    """Raised inside of rendering, where a wish of the spec can't be carried out; `render` answers Unrenderable."""

    def __init__(self, message: str, reason: Reason = Reason.INVALID_SPEC) -> None:
        super().__init__(message)
        self.answer = Unrenderable(reason, message)


def hash_of(thing: Mapping[str, Any]) -> str:
    """The same for objects that say the same, in whatever order."""
    text = json.dumps(thing, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
