"""What the operator watches: which objects of each kind, which of their fields it stores, and which LLMDeployments a
change concerns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from slipway.api.asked import writes
from slipway.api.model_key import ModelKey
from slipway.api.names import (
    ACTIVATOR_LABEL,
    AUTOSCALER_CLASS_ANNOTATION,
    FIELD_MANAGER,
    KIND,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    NODE_CACHE_DRIVER,
    OWNER_LABEL,
    PAUSED_ANNOTATION,
    PORT_TABLE_LABEL,
    RESTART_ANNOTATION,
    SERVICE_LABEL,
    SLEEP_ANNOTATION,
    SYNC_ANNOTATION,
    WAKE_ANNOTATION,
    activator_slice_name,
    is_label_of_job,
    model_of_label,
)
from slipway.kube.store import place_of, pruned
from slipway.kube.watch import Watch, with_home
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    CONFIG_MAP,
    CORE_EVENT,
    CSI_DRIVER,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    HORIZONTAL_POD_AUTOSCALER,
    INFERENCE_SERVICE,
    JOB,
    LLM_DEPLOYMENT,
    NETWORK_POLICY,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_MONITOR,
    REPLICA_SET,
    RESOURCE_CLAIM_TEMPLATE,
    SCALED_OBJECT,
    SERVICE,
    SERVING_RUNTIME,
    STORAGE_CLASS,
    Kind,
    Object,
)
from slipway.objects.metadata import annotations_of, name_of
from slipway.observing.keeping import OF_METADATA, WHICH, named, owners, picked, pod_shown
from slipway.observing.versions import REVISION
from slipway.operator.installation import Installation
from slipway.operator.reconciling.watched_claims import concerned_by_claim, stored_of_claim, stored_of_storage_class
from slipway.operator.reconciling.watched_jobs import models_of_job, stored_of_job
from slipway.operator.rendering.placement import is_template_name

OF_PODS = "-predictor-"  # in the names that KServe gives them, after the InferenceService's
CUT_AT, LONGEST = 58, 63  # where Kubernetes truncates the name of a pod, to append five random characters
MOST_OF_A_SPEC = 512 << 10  # characters, also of objects that contain all of it: the CRD admits no more, in practice
MOST_OF_OURS = 64 << 10
MOST_OF_A_CONFIG_MAP = 2 << 20  # in our own namespace
MOST_OF_A_POD = 256 << 10  # with termination messages of many containers
CHILDREN = {
    INFERENCE_SERVICE: MOST_OF_A_SPEC,
    SERVICE: MOST_OF_OURS,
    NETWORK_POLICY: MOST_OF_A_SPEC,
    POD_MONITOR: MOST_OF_OURS,
    SCALED_OBJECT: MOST_OF_OURS,
}


def watches(
    *,
    everyone: Callable[[], Iterable[ModelKey]],
    on_node: Callable[[str], Iterable[ModelKey]],
    node: Callable[[str], Object | None],
    ports: Callable[[Object], Iterable[ModelKey]],
    installation: Installation,
    on_claim: Callable[[Object], Iterable[ModelKey]] = lambda _: (),
    counted: Counted | None = None,
) -> list[Watch[ModelKey]]:
    """`everyone`: all LLMDeployments; `on_node`: those with a pod on the node; `node`: the node as it is now, if it
    exists; `ports`: those that a change of the port table concerns; `on_claim`: those that name the
    PersistentVolumeClaim; `counted`: what is called when the Supply may have changed.
    """
    counted = counted or Counted()
    in_watched = partial(Watch[ModelKey], namespaces=installation.watched)
    of_models = partial(in_watched, packed=True)
    return [
        *_of_models(of_models, PodPlaces(counted).concerns),
        *_of_inspections(installation),
        Watch(
            ENDPOINT_SLICE,
            lambda raw: concerned_by_slice(raw, everyone, installation),
            ACTIVATOR_LABEL,
            namespaces=with_home(installation.watched, installation.namespace),
            keep=partial(stored_of_slice, installation=installation),
            packed=True,
        ),
        Watch(CONFIG_MAP, ports, PORT_TABLE_LABEL, namespaces=(installation.namespace,), largest=MOST_OF_A_CONFIG_MAP),
        Watch(ACCELERATOR_PROFILE, ProfileSpecs(everyone, counted).concerns),
        Watch(CLUSTER_SERVING_RUNTIME, lambda _: everyone()),
        of_models(SERVING_RUNTIME, lambda raw: (key for key in everyone() if key[0] == place_of(raw)[0])),
        of_models(PERSISTENT_VOLUME_CLAIM, partial(concerned_by_claim, on_claim=on_claim), keep=stored_of_claim),
        Watch(STORAGE_CLASS, lambda _: everyone(), keep=stored_of_storage_class, may_be_closed=True),
        Watch(
            CSI_DRIVER,
            lambda raw: everyone() if name_of(raw) == NODE_CACHE_DRIVER else (),
            keep=lambda raw: {"metadata": picked(raw["metadata"], OF_METADATA)},
            may_be_closed=True,
        ),
        Watch(NODE, NodeHealth(on_node, node, counted.node).concerns, keep=stored_of_node),
        in_watched(
            CORE_EVENT,
            models_by_label,
            field_selector="involvedObject.kind=Pod",
            keep=stored_of_event,
            adopt=partial(event_about_a_model, everyone=everyone),
            is_hint=True,
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What is called when something changes that the Supply is computed from.

    `there`: whether the store has an object, by kind, name and namespace. `touched`: the nodes on which a pod of a
    model has started to use what it requested, or no longer uses it.
    """

    node: Callable[[str], object] = lambda _: None
    profiles: Callable[[], object] = lambda: None
    there: Callable[[Kind, str, str], bool] = lambda _kind, _name, _namespace: True
    touched: Callable[[Iterable[str]], object] = lambda _: None


def _of_models(
    watch: Callable[..., Watch[ModelKey]], of_pods: Callable[[Object], Iterable[ModelKey]]
) -> Iterable[Watch[ModelKey]]:
    """Of LLMDeployments, and of all that is made for them and has their label."""
    yield watch(LLM_DEPLOYMENT, lambda raw: [ModelKey.of(raw)], keep=stored_of_model, largest=MOST_OF_A_SPEC)
    for kind, largest in CHILDREN.items():
        yield watch(kind, models_by_label_or_owner, OWNER_LABEL, keep=stored_of_child, largest=largest)
    yield watch(HORIZONTAL_POD_AUTOSCALER, concerned_by_autoscaler, OWNER_LABEL, keep=stored_of_autoscaler)
    yield watch(RESOURCE_CLAIM_TEMPLATE, models_by_label_or_owner, OWNER_LABEL, keep=stored_of_template)
    yield watch(POD, of_pods, OWNER_LABEL, keep=stored_of_pod, largest=MOST_OF_A_POD)
    for kind in (DEPLOYMENT, REPLICA_SET):
        yield watch(kind, models_by_label, OWNER_LABEL, keep=stored_of_controller)


def _of_inspections(installation: Installation) -> Iterable[Watch[ModelKey]]:
    """Jobs that read models' files, where they are allowed; nowhere, by default, and then without the right to."""
    if installation.inspects:
        namespaces = installation.inspected
        jobs = partial(Watch[ModelKey], namespaces=namespaces, keep=stored_of_job, packed=True, may_be_closed=True)
        yield jobs(JOB, models_of_job, OWNER_LABEL)


def models_by_label(raw: Object) -> Iterable[ModelKey]:
    """Pods of Jobs concern their model, too."""
    namespace, _ = place_of(raw)
    return [ModelKey(namespace, model_of_label(raw["metadata"]["labels"][OWNER_LABEL]))]


def models_by_label_or_owner(child: Object) -> Iterable[ModelKey]:
    """By its label and by its owner reference: others may have changed either."""
    namespace, _ = place_of(child)
    references = child["metadata"].get("ownerReferences") or []
    return {
        *models_by_label(child),
        *(ModelKey(namespace, each["name"]) for each in references if each.get("kind") == KIND),
    }


def concerned_by_slice(
    raw: Object, everyone: Callable[[], Iterable[ModelKey]], installation: Installation
) -> Iterable[ModelKey]:
    """The addresses of an activator concern all; a model's own endpoints are known from its pods. Slices have the
    Service's labels."""
    labels = raw["metadata"].get("labels") or {}
    if OWNER_LABEL not in labels:
        is_at_home = place_of(raw)[0] == installation.namespace
        return everyone() if is_at_home and labels.get(SERVICE_LABEL) in installation.activators else ()
    is_extra = raw["metadata"]["name"] == activator_slice_name(labels[OWNER_LABEL])
    return models_by_label_or_owner(raw) if is_extra else ()


def concerned_by_autoscaler(autoscaler: Object) -> Iterable[ModelKey]:
    return models_by_label_or_owner(autoscaler) if _is_ours(autoscaler) else ()


def _is_ours(autoscaler: Object) -> bool:
    """KEDA copies our labels to its own, which has another name and changes with each of its polls."""
    metadata = autoscaler["metadata"]
    return bool(metadata["name"] == metadata["labels"][OWNER_LABEL])


@dataclass
class NodeHealth:
    """Filters the status updates of nodes, every few minutes: only a change of readiness, or a deletion, matters."""

    on_node: Callable[[str], Iterable[ModelKey]]
    node: Callable[[str], Object | None]
    changed: Callable[[str], object]
    known: dict[str, str] = field(default_factory=dict)

    def concerns(self, changed: Object) -> Iterable[ModelKey]:
        """A deletion looks like any other change, so the store shows whether the node still exists."""
        name = changed["metadata"]["name"]
        self.changed(name)
        there = self.node(name)
        if there is None:
            self.known.pop(name, None)
        elif self.known.get(name) == _readiness(there):
            return ()
        else:
            self.known[name] = _readiness(there)
        return self.on_node(name)


@dataclass
class ProfileSpecs:
    """Filters the status of profiles, which we write ourselves: only a change of the spec, or a deletion, matters."""

    everyone: Callable[[], Iterable[ModelKey]]
    counted: Counted
    known: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def concerns(self, profile: Object) -> Iterable[ModelKey]:
        metadata = profile["metadata"]
        name, spec = metadata["name"], (metadata.get("uid"), metadata.get("generation"))
        if not self.counted.there(ACCELERATOR_PROFILE, name, ""):
            self.known.pop(name, None)
        elif self.known.get(name) == spec:
            return ()
        else:
            self.known[name] = spec
        self.counted.profiles()
        return self.everyone()


@dataclass
class PodPlaces:
    """Knows on which node each pod of a model uses what it requested, to see where that changes."""

    counted: Counted
    known: dict[tuple[str, str], str] = field(default_factory=dict)

    def concerns(self, pod: Object) -> Iterable[ModelKey]:
        place = place_of(pod)
        is_over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        is_there = self.counted.there(POD, place[1], place[0]) and not is_over
        node = str((pod.get("spec") or {}).get("nodeName") or "") if is_there else ""
        before = self.known.get(place, "")
        if node:
            self.known[place] = node
        else:
            self.known.pop(place, None)
        if node != before:
            self.counted.touched(each for each in (node, before) if each)
        return models_by_label(pod)


def _readiness(node: Object) -> str:
    conditions = node.get("status", {}).get("conditions") or []
    return next((str(each["status"]) for each in conditions if each["type"] == "Ready"), "")


# --- what is stored --------------------------------------------------------------------------------------------------


def stored_of_model(deployment: Object) -> Object:
    """All of its spec and status, and the metadata that are read: labels and annotations are unbounded."""
    metadata = picked(deployment["metadata"], (*OF_METADATA, "generation"))
    annotations = picked(deployment["metadata"].get("annotations") or {}, OF_ANNOTATIONS)
    further = {"annotations": annotations, "managedFields": writes(deployment["metadata"].get("managedFields") or [])}
    return {**deployment, "metadata": {**metadata, **{name: each for name, each in further.items() if each}}}


def stored_of_child(child: Object) -> Object:
    """All that we have set, since others may change it, and the part of its status that is read.

    Of an object that isn't ours by name, owner and labels, only its owner.
    """
    if not _may_be_ours(child):
        return named(child, "ownerReferences")
    kept = KEPT_OF_STATUS.get(child.get("kind", ""), ())
    reported = child.get("status") or {}
    status = {name: reported[name] for name in kept if name in reported}
    fields_of = FIELD_MANAGER if child.get("kind") == INFERENCE_SERVICE.name else ""  # whose values are read elsewhere
    return {**pruned(child, fields_of=fields_of), **({"status": status} if "status" in child else {})}


def _may_be_ours(child: Object) -> bool:
    labels = child["metadata"]["labels"]
    is_owned = any(each.get("kind") == KIND for each in child["metadata"].get("ownerReferences") or [])
    return child["metadata"]["name"] == labels[OWNER_LABEL] and (is_owned or labels.get(MANAGED_BY_LABEL) == MANAGED_BY)


def stored_of_template(template: Object) -> Object:
    """Tenants may create them, too, and label them as ours."""
    name, owner = template["metadata"]["name"], template["metadata"]["labels"][OWNER_LABEL]
    return pruned(template) if is_template_name(name, owner) else named(template, "ownerReferences")


def stored_of_autoscaler(autoscaler: Object) -> Object:
    return pruned(autoscaler) if _is_ours(autoscaler) else named(autoscaler)


def stored_of_slice(endpoint_slice: Object, installation: Installation) -> Object:
    """The activator's slices and ours; other endpoints of a model's Service are known from its pods."""
    namespace, name = place_of(endpoint_slice)
    owner = (endpoint_slice["metadata"].get("labels") or {}).get(OWNER_LABEL)
    is_read = name == activator_slice_name(owner) if owner else namespace == installation.namespace
    return pruned(endpoint_slice) if is_read else named(endpoint_slice)


def stored_of_controller(raw: Object) -> Object:
    spec = {"replicas": raw["spec"]["replicas"]} if "replicas" in raw["spec"] else {}
    kept = named(raw, "ownerReferences")
    if copied := picked(annotations_of(raw), (AUTOSCALER_CLASS_ANNOTATION, REVISION)):
        kept["metadata"]["annotations"] = copied
    return {
        **kept,
        "spec": spec,
        "status": picked(raw.get("status") or {}, KEPT_OF_MAKERS),
    }


def stored_of_pod(pod: Object) -> Object:
    """Of a pod of a Job, also whose it is."""
    shown = pod_shown(pod)
    if is_label_of_job(pod["metadata"]["labels"][OWNER_LABEL]):
        shown["metadata"]["ownerReferences"] = owners(pod)
    return shown


def stored_of_node(node: Object) -> Object:
    """What decides where pods can start: labels, taints and what it offers. Its images alone are larger."""
    kept = {name: each for name in OF_METADATA if (each := node["metadata"].get(name))}
    labels = node["metadata"].get("labels") or {}
    spec = {name: each for name in OF_NODES if (each := (node.get("spec") or {}).get(name))}
    status = {name: each for name in OF_NODE_STATUS if (each := (node.get("status") or {}).get(name))}
    return {
        **picked(node, ("apiVersion", "kind")),
        "metadata": {**kept, "labels": labels},
        "spec": spec,
        "status": {"conditions": [], **status},
    }


OF_NODES = ("taints", "unschedulable")
OF_NODE_STATUS = ("conditions", "allocatable")
OF_ANNOTATIONS = (PAUSED_ANNOTATION, RESTART_ANNOTATION, SYNC_ANNOTATION, WAKE_ANNOTATION, SLEEP_ANNOTATION)
KEPT_OF_STATUS: dict[str, tuple[str, ...]] = {
    INFERENCE_SERVICE.name: ("conditions", "modelStatus"),
    SCALED_OBJECT.name: ("conditions",),
    POD_MONITOR.name: (),
}
KEPT_OF_MAKERS = ("replicas", "readyReplicas", "updatedReplicas", "conditions")
KEPT_OF_EVENTS = (
    "apiVersion",
    "kind",
    "involvedObject",
    "type",
    "reason",
    "message",
    "firstTimestamp",
    "lastTimestamp",
    "eventTime",
    "series",
)


def stored_of_event(event: Object) -> Object:
    kept = picked(event, (name for name in KEPT_OF_EVENTS if event.get(name)))
    return {**kept, "metadata": {name: event["metadata"].get(name) for name in WHICH}}


def event_about_a_model(event: Object, *, everyone: Callable[[], Iterable[ModelKey]]) -> Object | None:
    """Only events about our pods, with the owner's label added, by which all other objects are found, too."""
    about = event.get("involvedObject") or {}
    owner = _owner_in_name(about.get("name", ""), place_of(event)[0], everyone)
    return {**event, "metadata": {**event["metadata"], "labels": {OWNER_LABEL: owner}}} if owner else None


def _owner_in_name(pod: str, namespace: str, everyone: Callable[[], Iterable[ModelKey]]) -> str:
    owner, separator, _ = pod.rpartition(OF_PODS)
    if separator or len(pod) < LONGEST:
        return owner
    prefixes = {f"{name}{OF_PODS}"[:CUT_AT]: name for home, name in everyone() if home == namespace}
    return next((name for prefix, name in prefixes.items() if pod.startswith(prefix)), "")
