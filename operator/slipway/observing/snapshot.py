"""The one picture of what the cluster shows of an LLMDeployment at one moment. It lives for one reconcile.

Everything is decided from it: causes, the status, the plan, and what is rendered. `reconciling/observing.py` fills it
in from the caches; the activator fills in the few fields that it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.objects.kinds import INFERENCE_SERVICE, SCALED_OBJECT, Kind, Object
from slipway.objects.metadata import name_of, uid_of
from slipway.objects.times import parse_time
from slipway.observing.budget import Budget
from slipway.observing.fetch_progress import Progress
from slipway.observing.following import OF_NAMESPACE
from slipway.observing.ledger import Ledger
from slipway.observing.porttable import ActivatorPort
from slipway.observing.push_record import PushRecord


@dataclass(frozen=True, kw_only=True)
class RefusedWrite:
    """The API server, or a webhook that it called, rejected one of our objects."""

    kind: Kind
    name: str
    message: str  # the API server's own words


@dataclass(frozen=True, kw_only=True)
class PlatformPart:
    """What runs KServe, or KEDA."""

    namespace: str
    controller: Object | None = None  # its Deployment; None: the configured namespace has none
    pods: tuple[Object, ...] = ()
    webhook: tuple[Object, ...] = ()  # the EndpointSlices of the Service by which the API server calls its webhook


@dataclass(frozen=True, kw_only=True)
class UnmetReference:
    """The spec names an object that doesn't exist, or that isn't as it must be."""

    field: str
    kind: str
    name: str
    key: str = ""  # the key that the object exists without
    problem: str = ""  # what is wrong with the object, with the remedy; empty: it doesn't exist
    is_final: bool = True
    is_needed: bool = True  # False: a pod may start without it


@dataclass(frozen=True, kw_only=True)
class SeenJobs:
    """What the cluster shows of the Jobs of one kind that run for the model."""

    jobs: Mapping[str, Object] = field(default_factory=dict)  # by name
    pods: tuple[Object, ...] = ()
    events: tuple[Object, ...] = ()  # about them; looked up only while a Job is late


@dataclass(frozen=True, kw_only=True)
class Inspection(SeenJobs):
    """Of the Jobs that read the model's files, and what such a Job needs."""

    claim: Object | None = None  # the PersistentVolumeClaim with the files
    runtime: Object | None = None  # the ClusterServingRuntime with the image that reads them
    ahead: int = 0  # inspections of its namespace that come before it, while no place is free
    is_closed: bool = False  # our rights on Jobs in its namespace are gone


@dataclass(frozen=True)
class Remade:
    """Other pods were requested than before: at this time, when this was the newest revision of the Deployment."""

    at: datetime
    revision: int


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything that belongs to one LLMDeployment. What is unknown is left out, and never counts as a problem."""

    now: datetime
    llm_deployment: Object = field(default_factory=dict)  # as the API server has it, with its status

    # --- what serves it ----------------------------------------------------------------------------------------------
    inference_service: Object | None = None
    deployments: tuple[Object, ...] = ()  # KServe's (apps/v1)
    replica_sets: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    remade: Remade | None = None  # when other pods were requested last while something was wrong
    place_freed_at: datetime | None = None  # when the last pod that had a node was gone; Kubernetes forgets it
    named_volumes_at: Mapping[str, datetime] = field(default_factory=dict)
    """When the scheduler was first seen to name volumes as what keeps a pod from a node, by the pods' uids."""
    failed_pulls_at: Mapping[str, datetime] = field(default_factory=dict)
    """Since when an image of a pod can't be pulled, as far as that was seen, by the pods' uids."""
    events: tuple[Object, ...] = ()  # about any of the above
    nodes: Mapping[str, Object] | None = None  # by name; None: nodes are not watched
    service: Object | None = None  # the one that clients use
    claim_templates: tuple[Object, ...] = ()  # our ResourceClaimTemplates, by which its pods claim devices

    # --- what scales it ----------------------------------------------------------------------------------------------
    autoscaler: Object | None = None  # our HorizontalPodAutoscaler
    scaled_object: Object | None = None
    scaler_fails_since: datetime | None = None  # KEDA calls the ScaledObject not ready, and records no time
    follow_share: int = OF_NAMESPACE  # how many models of a namespace may follow times
    may_follow_times: bool = True  # or more models want to follow times than the activator keeps readings for
    scaler_is_there: bool | None = None  # whether a replica of the activator that KEDA queries is ready

    # --- the activator -----------------------------------------------------------------------------------------------
    activators: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The addresses of the ready replicas of each installed activator, by its Service."""
    port: ActivatorPort | None = None  # as the port table has it; None: no port yet
    activator_answers: bool | None = None
    """Whether the Service leads to the activator while no replica is ready; None: no activator is installed."""
    activator_reads_keys: bool | None = None  # whether it may read access.apiKeysSecret; None: unknown

    # --- what it relies on -------------------------------------------------------------------------------------------
    kinds: frozenset[Kind] = frozenset({INFERENCE_SERVICE, SCALED_OBJECT})
    """Which of the optional kinds (of KServe, KEDA, the Prometheus operator, and templates of claims) the API server
    serves."""
    profiles: tuple[AcceleratorProfile, ...] = ()
    runtimes: Mapping[str, Object] = field(default_factory=dict)
    """The ServingRuntimes and ClusterServingRuntimes that a plan or the live InferenceService may name."""
    kserve: PlatformPart | None = None  # None: not watched
    keda: PlatformPart | None = None

    storage_classes: tuple[Object, ...] | None = None  # None: the operator may not read them
    claims: tuple[Object, ...] = ()  # the PersistentVolumeClaims that the spec names, as far as they exist
    compiled_claim: Object | None = None  # the PersistentVolumeClaim with the name of ours for compiled code
    weights_claim: Object | None = None  # the same for the model's files

    given_up: Mapping[str, Object] = field(default_factory=dict)
    """`givenUp` of each cache, by its field of the status, where that doesn't have it yet."""
    inspection: Inspection | None = None  # None: no Job may read files in the namespace
    compilation: SeenJobs | None = None  # the Jobs that push an image of compiled code; None: as above
    imaging: SeenJobs | None = None  # the Jobs that push an image of the model's files; None: as above
    push: PushRecord | None = None  # what is known of pushed images by now; None: what the status has
    image_push: PushRecord | None = None  # the same of images of the model's files
    fetching: Progress | None = None  # how far its oldest pod is that fetches files; None: unknown, or none does
    no_image_volumes: str = ""  # why pods can't mount images, in words; empty: they can, or nothing needs it

    # --- what it costs -----------------------------------------------------------------------------------------------
    ledger: Ledger | None = None  # None: not counted, as in the activator
    budget: Budget | None = None  # None: the spec has none

    # --- what prevents writes -----------------------------------------------------------------------------------------
    foreign: tuple[Object, ...] = ()  # objects with the names of ours that belong to someone else
    refusals: tuple[RefusedWrite, ...] = ()
    unmet: tuple[UnmetReference, ...] = ()
    refused_claims: Mapping[str, str] = field(default_factory=dict)
    """Why claims of ours couldn't be made, in the API server's words, by their names."""

    @property
    def uid(self) -> str:
        return uid_of(self.llm_deployment)

    @property
    def generation(self) -> int:
        return int(self.llm_deployment["metadata"].get("generation") or 0)

    @property
    def status(self) -> Object | None:
        """The LLMDeployment's status as it was last written."""
        return self.llm_deployment.get("status")

    def deployment_named(self, name: str) -> Object | None:
        return next((each for each in self.deployments if name_of(each) == name), None)

    def events_of(self, raw: Object) -> Iterator[ObservedEvent]:
        """The events about an object, the newest first."""
        uid = raw["metadata"].get("uid")
        own = [ObservedEvent(event) for event in self.events if uid and _regarding(event).get("uid") == uid]
        yield from sorted(own, key=lambda event: event.last_seen or self.now, reverse=True)


@dataclass(frozen=True)
class ObservedEvent:
    """An event of the cluster, in the form of core/v1 or of events.k8s.io/v1."""

    raw: Object

    @property
    def reason(self) -> str:
        return str(self.raw.get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.raw.get("message") or self.raw.get("note") or "")

    @property
    def last_seen(self) -> datetime | None:
        series = self.raw.get("series") or {}
        names = ("lastTimestamp", "deprecatedLastTimestamp", "eventTime")
        return _first_time([series.get("lastObservedTime"), *(self.raw.get(name) for name in names)])


def _regarding(event: Object) -> Object:
    found: Object = event.get("involvedObject") or event.get("regarding") or {}
    return found


def _first_time(texts: Iterable[Any]) -> datetime | None:
    return next((parse_time(text) for text in texts if text), None)
