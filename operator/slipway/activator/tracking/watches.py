"""What the activator watches: the deployments, what belongs to them, and where its other replicas are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from slipway.activator.shared.model_key import ModelKey
from slipway.api.names import (
    ACTIVATOR_LABEL,
    OWNER_LABEL,
    PORT_TABLE_LABEL,
    SERVICE_LABEL,
    SLEEP_ANNOTATION,
    WAKE_ANNOTATION,
)
from slipway.api.reasons import ConditionType
from slipway.kube.kinds import CONFIG_MAP, ENDPOINT_SLICE, LLM_DEPLOYMENT, POD, SERVICE, Object
from slipway.kube.store import Store, place_of
from slipway.kube.watching import Watch, with_home
from slipway.observing.keeping import bounded, named, picked, pod_shown


@dataclass(frozen=True)
class ActivatorService:
    """The Service of the activator itself."""

    namespace: str
    service: str

    def owns(self, endpoint_slice: Object) -> bool:
        """What belongs to an LLMDeployment of that name says nothing about us."""
        namespace, labels = place_of(endpoint_slice)[0], endpoint_slice["metadata"].get("labels") or {}
        return (namespace, labels.get(SERVICE_LABEL)) == (self.namespace, self.service) and OWNER_LABEL not in labels


WatchedKey = ModelKey | ActivatorService


def watches(
    home: ActivatorService, ports: Callable[[Object], Iterable[WatchedKey]], watched: tuple[str, ...] = ()
) -> list[Watch[WatchedKey]]:
    """`ports`: whom a part of the table of ports concerns; `watched`: the namespaces of models, without any all."""
    to_us = f"{ACTIVATOR_LABEL}={home.service}"
    table = f"{PORT_TABLE_LABEL}={home.service}"
    return [
        Watch(
            LLM_DEPLOYMENT,
            lambda thing: [ModelKey(*place_of(thing))],
            namespaces=watched,
            keep=what_requests_meet,
            packed=True,
            largest=MOST_OF_A_SPEC,
        ),
        Watch(SERVICE, owner_of, OWNER_LABEL, namespaces=watched, keep=its_port),
        Watch(POD, owner_of, OWNER_LABEL, namespaces=watched, keep=pod_shown, packed=True, largest=MOST_OF_A_POD),
        # Services hand their labels on to their slices
        Watch(
            ENDPOINT_SLICE,
            _of_slice(home),
            to_us,
            namespaces=with_home(watched, home.namespace),
            keep=partial(where_it_leads, home),
        ),
        Watch(CONFIG_MAP, ports, table, namespaces=(home.namespace,), largest=MOST_OF_A_CONFIG_MAP),
    ]


def owner_of(thing: Object) -> Iterable[ModelKey]:
    owner = (thing["metadata"].get("labels") or {}).get(OWNER_LABEL)
    return [ModelKey(place_of(thing)[0], owner)] if owner else []


def _of_slice(home: ActivatorService) -> Callable[[Object], Iterable[WatchedKey]]:
    return lambda thing: [home] if home.owns(thing) else owner_of(thing)


# --- what is kept: what is read, and no more of it than belongs there ------------------------------------------------


def what_requests_meet(deployment: Object) -> Object:
    """Of the spec what concerns requests and how long a wake takes; of the status what is told, and what was learnt;
    and whether somebody asked for it by an annotation."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    kept: Object = {name: spec[name] for name in OF_SPEC if name in spec}
    kept["model"] = {name: spec["model"][name] for name in OF_MODEL if name in spec["model"]}
    told: Object = picked(status, ["lastColdStart"])
    told["plan"] = picked(status.get("plan") or {}, ["maxConcurrency"])
    told["conditions"] = [
        bounded(each) for each in status.get("conditions") or [] if each["type"] == ConditionType.READY
    ]
    found = {**named(deployment, "generation"), "spec": kept, "status": told}
    if annotations := picked(deployment["metadata"].get("annotations") or {}, OF_ANNOTATIONS):
        found["metadata"]["annotations"] = annotations
    return found


def its_port(service: Object) -> Object:
    """To which engines listen."""
    ports = (service.get("spec") or {}).get("ports") or []
    return {**named(service), "spec": {"ports": [picked(each, ["targetPort"]) for each in ports[:1]]}}


def where_it_leads(home: ActivatorService, endpoint_slice: Object) -> Object:
    """Of our own Service, where our replicas are; of a model's, whether new connections come to us."""
    endpoints: list[Object] = endpoint_slice.get("endpoints") or []
    if home.owns(endpoint_slice):
        kept = [picked(each, OF_ENDPOINTS) for each in endpoints]
    else:
        kept = [{"conditions": {"ready": any(is_led_to(each) for each in endpoints)}}] if endpoints else []
    return {**named(endpoint_slice), "endpoints": kept}


def is_led_to(endpoint: Object) -> bool:
    return bool((endpoint.get("conditions") or {}).get("ready", True))


def may_hold(endpoint: Object) -> bool:
    """Requests, with which one that ends takes its time."""
    return is_led_to(endpoint) or bool((endpoint.get("conditions") or {}).get("terminating"))


MOST_OF_A_SPEC, MOST_OF_A_POD = 256 << 10, 256 << 10  # characters
MOST_OF_A_CONFIG_MAP = 2 << 20  # in our own namespace
OF_ANNOTATIONS = (WAKE_ANNOTATION, SLEEP_ANNOTATION)
OF_SPEC = ("access", "engine", "scaling")
OF_MODEL = ("facts", "servedName")
OF_ENDPOINTS = ("addresses", "conditions", "targetRef")


# --- what is read of them --------------------------------------------------------------------------------------------


def replicas(store: Store, home: ActivatorService, which: Callable[[Object], bool] = lambda _: True) -> dict[str, str]:
    """The pods of the activator by their addresses; ourselves may be among them."""
    return {
        address: endpoint["targetRef"]["name"]
        for thing in store.labelled(ENDPOINT_SLICE, home.service, home.namespace)
        for endpoint in (thing.get("endpoints") or [] if home.owns(thing) else ())
        if (endpoint.get("targetRef") or {}).get("kind") == "Pod"
        if which(endpoint)
        for address in endpoint["addresses"]
    }
