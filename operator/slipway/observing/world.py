"""What the cluster shows of one LLMDeployment at one moment: plain Kubernetes objects, and the moment.

Whoever reads the cluster fills this in; nothing in this package asks for more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

Object = dict[str, Any]

INFERENCE_SERVICE, SCALED_OBJECT = "InferenceService", "ScaledObject"
REAL_YEARS = range(1970, 3000)  # others are written by people, and a moment before or after them may not exist


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What the API server answered when it, or a webhook that it asked, would not take one of our objects."""

    kind: str
    name: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """Of the platform: what runs KServe, or KEDA, as the cluster shows it."""

    namespace: str
    controller: Object | None = None  # its Deployment; None: there is none where it is looked for
    pods: tuple[Object, ...] = ()
    webhook: tuple[Object, ...] = ()  # the EndpointSlices of the Service by which the API server asks it


@dataclass(frozen=True, kw_only=True)
class Lack:
    """Something that the spec names, and that isn't there, or isn't as it must be."""

    field: str
    kind: str
    name: str
    key: str = ""  # the one that it is there without
    problem: str = ""  # what it is instead, with the remedy; empty: it isn't there
    is_final: bool = True
    is_needed: bool = True  # else a pod may do without


@dataclass(frozen=True, kw_only=True)
class WorldView:
    """Everything that belongs to one LLMDeployment. What is not known is left out, and never counts as trouble."""

    now: datetime
    inference_service: Object | None = None
    deployments: tuple[Object, ...] = ()
    replica_sets: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    place_freed_at: datetime | None = None  # when the last pod that had a node was gone; Kubernetes forgets it
    events: tuple[Object, ...] = ()  # of any of the above
    nodes: Mapping[str, Object] | None = None  # by name; None: nobody looks at nodes
    kinds: frozenset[str] = frozenset({INFERENCE_SERVICE, SCALED_OBJECT})
    """Which of the kinds that others define (KServe, KEDA, ...) the API server knows."""
    foreign: tuple[Object, ...] = ()  # objects that have the names of ours and belong to somebody else
    refusals: tuple[Refusal, ...] = ()
    lacks: tuple[Lack, ...] = ()
    kserve: Part | None = None  # None: nobody looks at it
    keda: Part | None = None
    service: Object | None = None  # the one that clients use
    autoscaler: Object | None = None  # the HorizontalPodAutoscaler, if that is who scales
    scaled_object: Object | None = None
    scaler_fails_since: datetime | None = None  # KEDA calls the ScaledObject not ready, and notes no time
    scaler_is_there: bool | None = None  # whether a replica of the activator that KEDA asks is ready
    activator_answers: bool | None = None
    """Whether the Service leads to the activator while no replica is ready; None: no activator is installed."""

    def events_of(self, thing: Object) -> Iterator[Event]:
        """The events of an object, the newest first."""
        uid = thing["metadata"].get("uid")
        own = [Event(event) for event in self.events if uid and _regarding(event).get("uid") == uid]
        yield from sorted(own, key=lambda event: event.last_seen or self.now, reverse=True)


@dataclass(frozen=True)
class Event:
    """An event, be it written in the old way (core/v1) or the new one (events.k8s.io/v1)."""

    raw: Object

    @property
    def reason(self) -> str:
        return str(self.raw.get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.raw.get("message") or self.raw.get("note") or "")

    @property
    def is_warning(self) -> bool:
        return self.raw.get("type") == "Warning"

    @property
    def first_seen(self) -> datetime | None:
        names = ("firstTimestamp", "deprecatedFirstTimestamp", "eventTime")
        return _first_time(self.raw.get(name) for name in names) or created(self.raw)

    @property
    def last_seen(self) -> datetime | None:
        series = self.raw.get("series") or {}
        names = ("lastTimestamp", "deprecatedLastTimestamp", "eventTime")
        return _first_time([series.get("lastObservedTime"), *(self.raw.get(name) for name in names)])


def created(thing: Object) -> datetime | None:
    return parse_time(thing["metadata"].get("creationTimestamp"))


def is_recent(moment: datetime, now: datetime, within: timedelta) -> bool:
    """What lies further ahead isn't: then two clocks differ, and nobody shall wait until ours has caught up."""
    return abs(now - moment) < within


def parse_time(text: str | None) -> datetime | None:
    """A time as the API server writes it. None: it is none, or one that can't be reckoned with."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo and moment.year in REAL_YEARS else None


def condition(thing: Object, kind: str) -> Object | None:
    """The condition of that type, if the object has it."""
    found: list[Object] = thing.get("status", {}).get("conditions") or []
    return next((each for each in found if each["type"] == kind), None)


def is_true(thing: Object, kind: str) -> bool:
    return (condition(thing, kind) or {}).get("status") == "True"


def is_false(thing: Object, kind: str) -> bool:
    return (condition(thing, kind) or {}).get("status") == "False"


def _regarding(event: Object) -> Object:
    found: Object = event.get("involvedObject") or event.get("regarding") or {}
    return found


def _first_time(texts: Any) -> datetime | None:
    return next((parse_time(text) for text in texts if text), None)
