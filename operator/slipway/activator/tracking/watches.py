"""What the activator watches: the models, the objects that belong to them, and where its other replicas are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from slipway.api.model_key import ModelKey
from slipway.api.names import (
    ACTIVATOR_LABEL,
    OWNER_LABEL,
    PORT_TABLE_LABEL,
    SERVICE_LABEL,
    SLEEP_ANNOTATION,
    WAKE_ANNOTATION,
)
from slipway.api.reasons import ConditionType
from slipway.kube.store import Store, place_of
from slipway.kube.watch import Watch, with_home
from slipway.objects.kinds import CONFIG_MAP, ENDPOINT_SLICE, LLM_DEPLOYMENT, POD, SERVICE, Object
from slipway.observing.keeping import bounded, named, picked, pod_shown


@dataclass(frozen=True)
class ActivatorService:
    """The activator's own Service."""

    namespace: str
    service: str

    def owns(self, endpoint_slice: Object) -> bool:
        """A slice that belongs to an LLMDeployment of that name isn't ours."""
        namespace, labels = place_of(endpoint_slice)[0], endpoint_slice["metadata"].get("labels") or {}
        return (namespace, labels.get(SERVICE_LABEL)) == (self.namespace, self.service) and OWNER_LABEL not in labels


WatchedKey = ModelKey | ActivatorService


def watches(
    own: ActivatorService, ports: Callable[[Object], Iterable[WatchedKey]], watched: tuple[str, ...] = ()
) -> list[Watch[WatchedKey]]:
    """`ports`: the models that a part of the port table concerns; `watched`: the namespaces of models; empty: all."""
    to_us = f"{ACTIVATOR_LABEL}={own.service}"
    table = f"{PORT_TABLE_LABEL}={own.service}"
    return [
        Watch(
            LLM_DEPLOYMENT,
            lambda object_: [ModelKey(*place_of(object_))],
            namespaces=watched,
            keep=needed_of_deployment,
            packed=True,
            largest=MOST_OF_A_SPEC,
        ),
        Watch(SERVICE, models_by_label, OWNER_LABEL, namespaces=watched, keep=needed_of_service),
        Watch(
            POD, models_by_label, OWNER_LABEL, namespaces=watched, keep=pod_shown, packed=True, largest=MOST_OF_A_POD
        ),
        # slices have the labels of their Services
        Watch(
            ENDPOINT_SLICE,
            _of_slice(own),
            to_us,
            namespaces=with_home(watched, own.namespace),
            keep=partial(needed_of_slice, own),
        ),
        Watch(CONFIG_MAP, ports, table, namespaces=(own.namespace,), largest=MOST_OF_A_CONFIG_MAP),
    ]


def models_by_label(object_: Object) -> Iterable[ModelKey]:
    owner = (object_["metadata"].get("labels") or {}).get(OWNER_LABEL)
    return [ModelKey(place_of(object_)[0], owner)] if owner else []


def _of_slice(own: ActivatorService) -> Callable[[Object], Iterable[WatchedKey]]:
    return lambda object_: [own] if own.owns(object_) else models_by_label(object_)


# --- what is stored of each object: what is needed, within bounds -----------------------------------------------------


def needed_of_deployment(deployment: Object) -> Object:
    """Of the spec what concerns requests and how long a wake takes; of the status the causes, what was measured,
    and how many replicas there should be; and the annotations to wake and to sleep."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    kept: Object = {name: spec[name] for name in OF_SPEC if name in spec}
    kept["model"] = {name: spec["model"][name] for name in OF_MODEL if name in spec["model"]}
    of_status: Object = picked(status, ["budget", "lastColdStart"])
    of_status["replicas"] = picked(status.get("replicas") or {}, ["desired"])
    of_status["plan"] = picked(status.get("plan") or {}, ["maxConcurrency", "startLimit", "task"])
    of_status["conditions"] = [
        bounded(each) for each in status.get("conditions") or [] if each["type"] == ConditionType.READY
    ]
    found = {**named(deployment, "generation"), "spec": kept, "status": of_status}
    if annotations := picked(deployment["metadata"].get("annotations") or {}, OF_ANNOTATIONS):
        found["metadata"]["annotations"] = annotations
    return found


def needed_of_service(service: Object) -> Object:
    """The port on which engines listen."""
    ports = (service.get("spec") or {}).get("ports") or []
    return {**named(service), "spec": {"ports": [picked(each, ["targetPort"]) for each in ports[:1]]}}


def needed_of_slice(own: ActivatorService, endpoint_slice: Object) -> Object:
    """Of our own Service, where our replicas are; of a model's, whether new connections reach us."""
    endpoints: list[Object] = endpoint_slice.get("endpoints") or []
    if own.owns(endpoint_slice):
        kept = [picked(each, OF_ENDPOINTS) for each in endpoints]
    else:
        kept = [{"conditions": {"ready": any(gets_new_connections(each) for each in endpoints)}}] if endpoints else []
    return {**named(endpoint_slice), "endpoints": kept}


def gets_new_connections(endpoint: Object) -> bool:
    return bool((endpoint.get("conditions") or {}).get("ready", True))


def may_hold(endpoint: Object) -> bool:
    """Whether it may hold requests: one that is shutting down finishes them first."""
    return gets_new_connections(endpoint) or bool((endpoint.get("conditions") or {}).get("terminating"))


MOST_OF_A_SPEC, MOST_OF_A_POD = 256 << 10, 256 << 10  # characters
MOST_OF_A_CONFIG_MAP = 2 << 20  # in our own namespace
OF_ANNOTATIONS = (WAKE_ANNOTATION, SLEEP_ANNOTATION)
OF_SPEC = ("access", "budget", "engine", "scaling")
OF_MODEL = ("facts", "servedName", "task")
OF_ENDPOINTS = ("addresses", "conditions", "targetRef")


# --- what is read from them -------------------------------------------------------------------------------------------


def activator_pods(
    store: Store, own: ActivatorService, which: Callable[[Object], bool] = lambda _: True
) -> dict[str, str]:
    """The pods of the activator by their addresses; this one may be among them."""
    return {
        address: endpoint["targetRef"]["name"]
        for object_ in store.labelled(ENDPOINT_SLICE, own.service, own.namespace)
        for endpoint in (object_.get("endpoints") or [] if own.owns(object_) else ())
        if (endpoint.get("targetRef") or {}).get("kind") == "Pod"
        if which(endpoint)
        for address in endpoint["addresses"]
    }
