"""What the operator watches: of each kind which objects, how much of them it keeps, and whom their changes concern."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from slipway.api.asked import writes
from slipway.api.names import (
    ACTIVATOR_LABEL,
    FIELD_MANAGER,
    KIND,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    OWNER_LABEL,
    PAUSED_ANNOTATION,
    PORT_TABLE_LABEL,
    SERVICE_LABEL,
    SLEEP_ANNOTATION,
    SYNC_ANNOTATION,
    WAKE_ANNOTATION,
    activator_slice,
)
from slipway.kube.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    CONFIG_MAP,
    CORE_EVENT,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    HORIZONTAL_POD_AUTOSCALER,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    NETWORK_POLICY,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_MONITOR,
    REPLICA_SET,
    SCALED_OBJECT,
    SERVICE,
    SERVING_RUNTIME,
    Object,
)
from slipway.kube.store import place_of, pruned
from slipway.kube.watch import Watch, with_home
from slipway.observing.keeping import OF_METADATA, WHICH, named, picked, pod_shown
from slipway.operator.reconciling.home import Home
from slipway.operator.reconciling.key import Key

OF_PODS = "-predictor-"  # KServe names them so, after the InferenceService
CUT_AT, LONGEST = 58, 63  # where Kubernetes cuts the name of a pod, to append five characters of its own
MOST_OF_A_SPEC = 512 << 10  # characters, and of what has all of it in it: the CRD lets in no more, in practice
MOST_OF_OURS = 64 << 10
MOST_OF_A_CONFIG_MAP = 2 << 20  # in our own namespace
MOST_OF_A_POD = 256 << 10  # with the last words of many containers
CHILDREN = {
    INFERENCE_SERVICE: MOST_OF_A_SPEC,
    SERVICE: MOST_OF_OURS,
    NETWORK_POLICY: MOST_OF_A_SPEC,
    POD_MONITOR: MOST_OF_OURS,
    SCALED_OBJECT: MOST_OF_OURS,
}


def watches(
    *,
    everyone: Callable[[], Iterable[Key]],
    on_node: Callable[[str], Iterable[Key]],
    node: Callable[[str], Object | None],
    ports: Callable[[Object], Iterable[Key]],
    home: Home,
    on_claim: Callable[[Object], Iterable[Key]] = lambda _: (),
) -> list[Watch[Key]]:
    """`everyone`: all deployments; `on_node`: those with a pod on the node; `node`: as it is now, if it is there;
    `ports`: whom a part of the table of ports concerns; `on_claim`: those that name the PersistentVolumeClaim.
    """
    health = NodeHealth(on_node, node)
    in_watched = partial(Watch[Key], namespaces=home.watched)
    of_models = partial(in_watched, packed=True)
    return [
        of_models(LLM_DEPLOYMENT, lambda thing: [key_of(thing)], keep=what_is_wanted, largest=MOST_OF_A_SPEC),
        *(
            of_models(kind, owners_of, OWNER_LABEL, keep=what_is_ours, largest=largest)
            for kind, largest in CHILDREN.items()
        ),
        of_models(HORIZONTAL_POD_AUTOSCALER, whom_an_autoscaler_concerns, OWNER_LABEL, keep=without_what_is_kedas),
        of_models(POD, owner_of, OWNER_LABEL, keep=pod_shown, largest=MOST_OF_A_POD),
        Watch(
            ENDPOINT_SLICE,
            lambda thing: whom_a_slice_concerns(thing, everyone, home),
            ACTIVATOR_LABEL,
            namespaces=with_home(home.watched, home.namespace),
            keep=partial(where_it_leads, home=home),
            packed=True,
        ),
        Watch(CONFIG_MAP, ports, PORT_TABLE_LABEL, namespaces=(home.namespace,), largest=MOST_OF_A_CONFIG_MAP),
        *(of_models(kind, owner_of, OWNER_LABEL, keep=without_template) for kind in (DEPLOYMENT, REPLICA_SET)),
        *(Watch(kind, lambda _: everyone()) for kind in (ACCELERATOR_PROFILE, CLUSTER_SERVING_RUNTIME)),
        of_models(SERVING_RUNTIME, lambda thing: (key for key in everyone() if key[0] == place_of(thing)[0])),
        of_models(PERSISTENT_VOLUME_CLAIM, on_claim, keep=phase_alone),
        Watch(NODE, health.concerns, keep=conditions_alone),
        in_watched(
            CORE_EVENT,
            owner_of,
            field_selector="involvedObject.kind=Pod",
            keep=what_an_event_tells,
            adopt=partial(told_of_a_model, everyone=everyone),
            is_hint=True,
        ),
    ]


def key_of(deployment: Object) -> Key:
    return Key(*place_of(deployment))


def owner_of(thing: Object) -> Iterable[Key]:
    namespace, _ = place_of(thing)
    return [Key(namespace, thing["metadata"]["labels"][OWNER_LABEL])]


def owners_of(child: Object) -> Iterable[Key]:
    """By its label and by its owner reference: somebody may have changed either."""
    namespace, _ = place_of(child)
    references = child["metadata"].get("ownerReferences") or []
    return {*owner_of(child), *(Key(namespace, each["name"]) for each in references if each.get("kind") == KIND)}


def whom_a_slice_concerns(thing: Object, everyone: Callable[[], Iterable[Key]], home: Home) -> Iterable[Key]:
    """Where an activator is concerns all; who answers for a model, its pods tell. Slices have the Service's labels."""
    labels = thing["metadata"].get("labels") or {}
    if OWNER_LABEL not in labels:
        is_at_home = place_of(thing)[0] == home.namespace
        return everyone() if is_at_home and labels.get(SERVICE_LABEL) in home.activators else ()
    is_extra = thing["metadata"]["name"] == activator_slice(labels[OWNER_LABEL])
    return owners_of(thing) if is_extra else ()


def whom_an_autoscaler_concerns(autoscaler: Object) -> Iterable[Key]:
    return owners_of(autoscaler) if _is_ours(autoscaler) else ()


def _is_ours(autoscaler: Object) -> bool:
    """KEDA hands our labels on to the one that it makes, which has another name and changes with each of its looks."""
    metadata = autoscaler["metadata"]
    return bool(metadata["name"] == metadata["labels"][OWNER_LABEL])


@dataclass
class NodeHealth:
    """Nodes report every few minutes, and only a change of their readiness concerns anybody, or that they are gone."""

    on_node: Callable[[str], Iterable[Key]]
    node: Callable[[str], Object | None]
    known: dict[str, str] = field(default_factory=dict)

    def concerns(self, changed: Object) -> Iterable[Key]:
        """The last that is heard of a node looks like all that was heard before, so its place is looked at."""
        name = changed["metadata"]["name"]
        there = self.node(name)
        if there is None:
            self.known.pop(name, None)
        elif self.known.get(name) == _readiness(there):
            return ()
        else:
            self.known[name] = _readiness(there)
        return self.on_node(name)


def _readiness(node: Object) -> str:
    conditions = node.get("status", {}).get("conditions") or []
    return next((str(each["status"]) for each in conditions if each["type"] == "Ready"), "")


# --- what is kept ----------------------------------------------------------------------------------------------------


def what_is_wanted(deployment: Object) -> Object:
    """All of its spec and status. Of what is written beside, what is read: labels and annotations have no bounds."""
    metadata = picked(deployment["metadata"], (*OF_METADATA, "generation"))
    annotations = picked(deployment["metadata"].get("annotations") or {}, OF_ANNOTATIONS)
    beside = {"annotations": annotations, "managedFields": writes(deployment["metadata"].get("managedFields") or [])}
    return {**deployment, "metadata": {**metadata, **{name: each for name, each in beside.items() if each}}}


def what_is_ours(child: Object) -> Object:
    """All that we have set, since others may change it; of what its controller says, what is read.

    Of what has another name than ours have, or is somebody else's by owner and labels, whose it is.
    """
    if not _may_be_ours(child):
        return named(child, "ownerReferences")
    kept = KEPT_OF_STATUS.get(child.get("kind", ""), ())
    told = child.get("status") or {}
    status = {name: told[name] for name in kept if name in told}
    fields_of = FIELD_MANAGER if child.get("kind") == INFERENCE_SERVICE.name else ""  # whose values are read elsewhere
    return {**pruned(child, fields_of=fields_of), **({"status": status} if "status" in child else {})}


def _may_be_ours(child: Object) -> bool:
    labels = child["metadata"]["labels"]
    is_owned = any(each.get("kind") == KIND for each in child["metadata"].get("ownerReferences") or [])
    return child["metadata"]["name"] == labels[OWNER_LABEL] and (is_owned or labels.get(MANAGED_BY_LABEL) == MANAGED_BY)


def without_what_is_kedas(autoscaler: Object) -> Object:
    return pruned(autoscaler) if _is_ours(autoscaler) else named(autoscaler)


def where_it_leads(endpoint_slice: Object, home: Home) -> Object:
    """Of the activator, and of what we have made; where a model's Service leads else, its pods tell."""
    namespace, name = place_of(endpoint_slice)
    owner = (endpoint_slice["metadata"].get("labels") or {}).get(OWNER_LABEL)
    is_read = name == activator_slice(owner) if owner else namespace == home.namespace
    return pruned(endpoint_slice) if is_read else named(endpoint_slice)


def without_template(thing: Object) -> Object:
    spec = {"replicas": thing["spec"]["replicas"]} if "replicas" in thing["spec"] else {}
    return {
        **named(thing, "ownerReferences"),
        "spec": spec,
        "status": picked(thing.get("status") or {}, KEPT_OF_MAKERS),
    }


def conditions_alone(node: Object) -> Object:
    return {**pruned(node), "spec": {}, "status": {"conditions": node.get("status", {}).get("conditions") or []}}


def phase_alone(claim: Object) -> Object:
    metadata = {name: claim["metadata"].get(name) for name in WHICH}
    return {"metadata": metadata, "status": {"phase": (claim.get("status") or {}).get("phase", "")}}


OF_ANNOTATIONS = (PAUSED_ANNOTATION, SYNC_ANNOTATION, WAKE_ANNOTATION, SLEEP_ANNOTATION)
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


def what_an_event_tells(event: Object) -> Object:
    kept = picked(event, (name for name in KEPT_OF_EVENTS if event.get(name)))
    return {**kept, "metadata": {name: event["metadata"].get(name) for name in WHICH}}


def told_of_a_model(event: Object, *, everyone: Callable[[], Iterable[Key]]) -> Object | None:
    """Only events of our pods; with the owner's label, by which all else is found, too."""
    about = event.get("involvedObject") or {}
    owner = _owner_in_name(about.get("name", ""), place_of(event)[0], everyone)
    return {**event, "metadata": {**event["metadata"], "labels": {OWNER_LABEL: owner}}} if owner else None


def _owner_in_name(pod: str, namespace: str, everyone: Callable[[], Iterable[Key]]) -> str:
    owner, separator, _ = pod.rpartition(OF_PODS)
    if separator or len(pod) < LONGEST:
        return owner
    beginnings = {f"{name}{OF_PODS}"[:CUT_AT]: name for home, name in everyone() if home == namespace}
    return next((name for begin, name in beginnings.items() if pod.startswith(begin)), "")
