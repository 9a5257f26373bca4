"""The watches: which models a change concerns, and how much of an object is stored."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from slipway.api.asked import written
from slipway.api.model_key import ModelKey
from slipway.api.names import PAUSED_ANNOTATION, SLEEP_ANNOTATION, WAKE_ANNOTATION
from slipway.kube.watch import Watch
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
    LLM_DEPLOYMENT,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    RESOURCE_CLAIM_TEMPLATE,
    SERVICE,
    SERVING_RUNTIME,
    STORAGE_CLASS,
    Kind,
    Object,
)
from slipway.operator.installation import Installation
from slipway.operator.reconciling.watches import Counted, stored_of_model, watches

OF_THE_CLUSTER = {ACCELERATOR_PROFILE, CLUSTER_SERVING_RUNTIME, CSI_DRIVER, NODE, STORAGE_CLASS}
LONG_NAME = "a" + 51 * "-" + "z"
ALL_KEYS: list[ModelKey] = [ModelKey("chat", "llama"), ModelKey("code", "qwen"), ModelKey("chat", LONG_NAME)]


def all_watches(nodes: dict[str, Object] | None = None, watched: tuple[str, ...] = ()) -> list[Watch[ModelKey]]:
    return watches(
        everyone=lambda: ALL_KEYS,
        on_node=lambda node: [ModelKey("on", node)],
        node=({} if nodes is None else nodes).get,
        ports=lambda _: (),
        installation=Installation("slipway-system", ("slipway-activator",), watched=watched),
    )


def watch_of(kind: Kind, nodes: dict[str, Object] | None = None) -> Watch[ModelKey]:
    return next(watch for watch in all_watches(nodes) if watch.kind == kind)


def obj(name: str = "a", **fields: Any) -> Object:
    metadata = {"name": name, "namespace": "chat", "uid": "1", "resourceVersion": "7", **fields.pop("metadata", {})}
    return {"metadata": metadata, **fields}


def node(ready: str) -> Object:
    return obj("n1", status={"conditions": [{"type": "Ready", "status": ready}]}, spec={})


def event(about: str) -> Object:
    return obj(f"{about}.1", involvedObject={"kind": "Pod", "name": about}, reason="Failed", source={"x": "y"})


def test_models_of_all_namespaces_are_watched_unless_some_are_named() -> None:
    where = {watch.kind: watch.namespaces for watch in all_watches()}
    assert where == {kind: ("slipway-system",) if kind == CONFIG_MAP else () for kind in where}


def test_with_named_namespaces_only_those_our_own_and_cluster_scoped_objects_are_watched() -> None:
    home, watched = "slipway-system", ("chat", "code")
    where = {watch.kind: watch.namespaces for watch in all_watches(watched=watched)}
    of_models = where.keys() - OF_THE_CLUSTER - {CONFIG_MAP, ENDPOINT_SLICE}
    assert all(kind.namespaced for kind in of_models)
    expected = dict.fromkeys(of_models, watched) | dict.fromkeys(OF_THE_CLUSTER, ())
    assert where == expected | {CONFIG_MAP: (home,), ENDPOINT_SLICE: (*watched, home)}


def test_a_child_concerns_the_deployment_of_its_label() -> None:
    pod = obj("llama-predictor-1", metadata={"labels": {"slipway.dev/llmdeployment": "llama"}})
    assert list(watch_of(POD).keys(pod)) == [("chat", "llama")]


def test_a_child_whose_label_was_changed_still_concerns_its_owner() -> None:
    owner = {"kind": "LLMDeployment", "name": "llama"}
    labels = {"slipway.dev/llmdeployment": "qwen"}
    service = obj("llama", metadata={"labels": labels, "ownerReferences": [owner]})
    assert set(watch_of(SERVICE).keys(service)) == {("chat", "llama"), ("chat", "qwen")}


def test_only_our_own_autoscalers_concern_a_model_and_are_stored_entirely() -> None:
    labels, spec = {"slipway.dev/llmdeployment": "llama"}, {"maxReplicas": 3}
    watch = watch_of(HORIZONTAL_POD_AUTOSCALER)
    ours, kedas = (obj(name, metadata={"labels": labels}, spec=spec) for name in ("llama", "keda-hpa-llama"))
    assert (list(watch.keys(ours)), watch.keep(ours)) == ([("chat", "llama")], ours)
    assert (list(watch.keys(kedas)), watch.keep(kedas)) == ([], {"metadata": kedas["metadata"]})


def test_a_runtime_concerns_the_models_of_its_namespace() -> None:
    assert list(watch_of(SERVING_RUNTIME).keys(obj())) == [("chat", "llama"), ("chat", LONG_NAME)]


def test_a_node_concerns_its_models_if_its_readiness_changes_and_not_at_each_heartbeat() -> None:
    nodes: dict[str, Object] = {}
    keys = watch_of(NODE, nodes).keys

    def concerned_by(deleted: Object) -> list[ModelKey]:
        nodes["n1"] = deleted
        return list(keys(deleted))

    assert concerned_by(node("True")) == [("on", "n1")]
    assert concerned_by(node("True")) == []
    assert concerned_by(node("Unknown")) == [("on", "n1")]


class Seen:
    """What is counted, and what still exists."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.there: set[str] = set()
        self.counted = Counted(
            node=self.calls.append,
            profiles=lambda: self.calls.append("profiles"),
            there=lambda kind, name, namespace: name in self.there,
            touched=lambda nodes: self.calls.append(sorted(nodes)),
        )

    def keys(self, kind: Kind, raw: Object, *, deleted: bool = False) -> list[Any]:
        name = raw["metadata"]["name"]
        self.there = self.there - {name} if deleted else self.there | {name}
        [watch] = [watch for watch in self.watches if watch.kind == kind]
        return list(watch.keys(raw))

    @cached_property
    def watches(self) -> list[Watch[ModelKey]]:
        return watches(
            everyone=lambda: ALL_KEYS,
            on_node=lambda node: [],
            node=lambda _: None,
            ports=lambda _: (),
            installation=Installation("slipway-system", ("slipway-activator",)),
            counted=self.counted,
        )


def profile(generation: int, **fields: Any) -> Object:
    return obj("h100", metadata={"generation": generation}, **fields)


def test_a_profile_concerns_all_when_its_spec_changes_and_not_when_its_status_does() -> None:
    seen = Seen()
    assert seen.keys(ACCELERATOR_PROFILE, profile(1)) == ALL_KEYS
    assert seen.keys(ACCELERATOR_PROFILE, profile(1, status={"nodes": 3})) == []
    assert seen.keys(ACCELERATOR_PROFILE, profile(2)) == ALL_KEYS
    assert seen.keys(ACCELERATOR_PROFILE, profile(2), deleted=True) == ALL_KEYS
    assert seen.keys(ACCELERATOR_PROFILE, profile(2)) == ALL_KEYS
    assert seen.calls == ["profiles"] * 4


def pod_on(node: str, phase: str = "Running") -> Object:
    labels = {"slipway.dev/llmdeployment": "llama"}
    return obj("p", metadata={"labels": labels}, spec={"nodeName": node} if node else {}, status={"phase": phase})


def test_the_nodes_are_counted_again_where_a_pod_starts_or_ends() -> None:
    seen = Seen()
    for raw in (pod_on("", "Pending"), pod_on("a", "Pending"), pod_on("a"), pod_on("a", "Failed")):
        assert seen.keys(POD, raw) == [("chat", "llama")]
    assert seen.calls == [["a"], ["a"]]


def test_the_node_of_a_deleted_pod_is_counted_again() -> None:
    seen = Seen()
    seen.keys(POD, pod_on("a"))
    seen.keys(POD, pod_on("a"), deleted=True)
    seen.keys(POD, pod_on("b"))
    assert seen.calls == [["a"], ["a"], ["b"]]


def test_each_change_of_a_node_is_passed_on_to_be_counted() -> None:
    seen = Seen()
    seen.keys(NODE, node("True"))
    seen.keys(NODE, node("True"))
    assert seen.calls == ["n1", "n1"]


def test_of_a_node_only_what_decides_where_pods_start_is_stored() -> None:
    taint = {"key": "a", "effect": "NoSchedule"}
    raw = obj(
        "n1",
        metadata={"labels": {"gpu": "h100"}, "annotations": {"large": "x"}, "managedFields": ["large"]},
        spec={"taints": [taint], "unschedulable": True, "podCIDR": "10.0.0.0/24"},
        status={"conditions": [], "allocatable": {"cpu": "8"}, "images": ["large"], "capacity": {"cpu": "9"}},
    )
    kept = watch_of(NODE).keep(raw)
    assert kept["metadata"] == {**obj("n1")["metadata"], "labels": {"gpu": "h100"}}
    assert kept["spec"] == {"taints": [taint], "unschedulable": True}
    assert kept["status"] == {"conditions": [], "allocatable": {"cpu": "8"}}


def test_a_deleted_node_concerns_its_models_though_its_last_state_is_unchanged() -> None:
    nodes = {"n1": node("True")}
    keys = watch_of(NODE, nodes).keys
    list(keys(nodes["n1"]))
    assert list(keys(nodes.pop("n1"))) == [("on", "n1")]


def test_an_event_of_a_model_s_pod_concerns_its_deployment_and_is_stored_without_unused_fields() -> None:
    kept = watch_of(CORE_EVENT).kept(event("my-predictor-llama-predictor-5d9c-x7"))
    assert kept is not None
    assert list(watch_of(CORE_EVENT).keys(kept)) == [("chat", "my-predictor-llama")]
    assert "source" not in kept


def test_a_long_name_is_found_in_the_name_of_a_pod_that_kubernetes_has_cut() -> None:
    kept = watch_of(CORE_EVENT).kept(event(f"{LONG_NAME}-predictor-6b9f"[:58] + "x7k2q"))
    assert kept is not None
    assert list(watch_of(CORE_EVENT).keys(kept)) == [("chat", LONG_NAME)]


def test_an_event_of_any_other_pod_is_not_stored() -> None:
    assert watch_of(CORE_EVENT).kept(event("coredns-5d9c-x7")) is None


def without(labels: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key != name}


def of_the_activator(namespace: str, service: str = "slipway-activator") -> Object:
    labels = {"kubernetes.io/service-name": service, "slipway.dev/activator": service}
    return obj("slice", metadata={"namespace": namespace, "labels": labels})


def test_the_endpoints_of_the_activator_concern_all_models() -> None:
    assert list(watch_of(ENDPOINT_SLICE).keys(of_the_activator("slipway-system"))) == ALL_KEYS


def test_a_service_with_the_name_of_the_activator_in_another_namespace_concerns_no_model() -> None:
    assert list(watch_of(ENDPOINT_SLICE).keys(of_the_activator("evil"))) == []
    assert list(watch_of(ENDPOINT_SLICE).keys(of_the_activator("slipway-system", "other"))) == []


def test_the_port_table_is_watched_in_the_namespace_of_slipway() -> None:
    watch = watch_of(CONFIG_MAP)
    assert (watch.namespaces, watch.label_selector) == (("slipway-system",), "slipway.dev/port-table")


def test_the_pod_template_of_a_deployment_is_not_stored() -> None:
    kept = watch_of(DEPLOYMENT).keep(obj(spec={"replicas": 1, "template": {"large": "x"}}))
    assert kept is not None
    assert kept["spec"] == {"replicas": 1}


# --- how much is stored ----------------------------------------------------------------------------------------------

LABELS = {"slipway.dev/llmdeployment": "llama", "app.kubernetes.io/managed-by": "slipway"}


def test_of_our_objects_the_fields_that_we_set_and_the_read_part_of_the_status_are_stored() -> None:
    status = {"conditions": [{"type": "Ready"}], "modelStatus": {"states": {}}, "components": {"large": "x"}}
    metadata = {"labels": LABELS, "annotations": {"a": "b"}, "ownerReferences": [{"kind": "LLMDeployment"}]}
    service = {
        **obj("llama", metadata=metadata, spec={"predictor": {"large": "x"}}, status=status),
        "kind": "InferenceService",
    }
    fields = {"manager": "slipway", "operation": "Apply", "fieldsV1": {"f:spec": {}}}
    managed = [{**fields, "time": "then"}, {**fields, "manager": "kubectl"}]
    kept = watch_of(INFERENCE_SERVICE).keep({**service, "metadata": {**service["metadata"], "managedFields": managed}})
    assert kept is not None
    assert kept["metadata"].pop("managedFields") == [fields]
    assert kept == {**service, "status": {name: status[name] for name in ("conditions", "modelStatus")}}


def test_the_status_of_a_pod_is_stored_and_not_the_commands_of_its_containers() -> None:
    container = {"name": "a", "resources": {"limits": {"memory": "1Gi"}}, "env": ["large"], "args": ["large"]}
    metadata = {"labels": {**LABELS, "pod-template-hash": "1", "app": "x"}, "annotations": {"large": "x"}}
    where = {"nodeName": "n", "nodeSelector": {"a": "b"}, "affinity": {"nodeAffinity": {}}, "resourceClaims": []}
    spec = {**where, "volumes": ["large"], "containers": [container]}
    shown = {name: container[name] for name in ("name", "resources")}
    kept = watch_of(POD).keep(obj(metadata=metadata, spec=spec, status={"phase": "Running"}))
    assert kept == {
        "metadata": {**obj()["metadata"], "labels": {**LABELS, "pod-template-hash": "1"}},
        "spec": {**where, "containers": [shown]},
        "status": {"phase": "Running"},
    }


def test_our_own_template_of_claims_is_stored_entirely_and_of_others_only_the_names() -> None:
    watch = watch_of(RESOURCE_CLAIM_TEMPLATE)
    ours, its = (obj(name, metadata={"labels": LABELS}, spec={"x": 1}) for name in ("llama-0123abcd", "llama-mine"))
    assert watch.keep(ours) == ours
    assert watch.keep(its) == {"metadata": {**its["metadata"], "ownerReferences": []}}
    assert list(watch.keys(ours)) == [("chat", "llama")]


def test_our_own_slice_is_stored_entirely_and_of_other_slices_only_the_names() -> None:
    watch = watch_of(ENDPOINT_SLICE)
    ours, its = (obj(name, metadata={"labels": LABELS}, endpoints=["x"]) for name in ("llama-activator", "llama-x7"))
    home, elsewhere = ({**of_the_activator(each), "endpoints": ["x"]} for each in ("slipway-system", "evil"))
    assert [watch.keep(each) for each in (ours, home)] == [ours, home]
    assert [watch.keep(each) for each in (its, elsewhere)] == [
        {"metadata": {**each["metadata"], "labels": without(each["metadata"]["labels"], "slipway.dev/activator")}}
        for each in (its, elsewhere)
    ]


def test_of_objects_of_others_only_the_owner_is_stored() -> None:
    owner = {"kind": "Release", "name": "shop", "controller": True}
    metadata = {"labels": {"slipway.dev/llmdeployment": "llama"}, "ownerReferences": [owner]}
    for name, owner_metadata in (("llama", metadata), ("llama-too", {**metadata, "labels": LABELS})):
        kept = watch_of(SERVICE).keep(obj(name, metadata=owner_metadata, spec={"large": "x"}))
        assert kept == {"metadata": obj(name, metadata=owner_metadata)["metadata"]}


def test_the_phase_and_the_access_modes_of_a_claim_are_stored_and_it_concerns_the_models_that_name_it() -> None:
    claim = obj(
        spec={"large": "x", "accessModes": ["ReadWriteOnce"]},
        status={"phase": "Bound", "capacity": "x"},
        metadata={"labels": {"a": "b"}},
    )
    all_of_them = watches(
        everyone=lambda: ALL_KEYS,
        on_node=lambda _: (),
        node=lambda _: None,
        ports=lambda _: (),
        installation=Installation(),
        on_claim=lambda it: [ModelKey("of", it["metadata"]["name"])],
    )
    watch = next(each for each in all_of_them if each.kind == PERSISTENT_VOLUME_CLAIM)
    kept = {"spec": {"accessModes": ["ReadWriteOnce"]}, "status": {"phase": "Bound"}}
    assert watch.keep(claim) == {"metadata": {**obj()["metadata"], "creationTimestamp": None}, **kept}
    assert list(watch.keys(claim)) == [("of", "a")]


def test_only_the_used_annotations_of_a_model_are_stored() -> None:
    read = dict.fromkeys((PAUSED_ANNOTATION, WAKE_ANNOTATION, SLEEP_ANNOTATION), "x")
    last_applied = {"kubectl.kubernetes.io/last-applied-configuration": "large"}
    watch = watch_of(LLM_DEPLOYMENT)
    assert watch.keep(obj(metadata={"annotations": read | last_applied}))["metadata"]["annotations"] == read
    assert "annotations" not in watch.keep(obj(metadata={"annotations": last_applied}))["metadata"]


def test_the_time_at_which_a_wake_or_sleep_annotation_was_written_is_stored() -> None:
    watch = watch_of(LLM_DEPLOYMENT)
    fields: Any = {"f:metadata": {"f:annotations": {"f:team": {}, f"f:{WAKE_ANNOTATION}": {}}}, "f:spec": {}}
    entry = {"manager": "kubectl-annotate", "time": "2026-11-21T10:00:00Z", "fieldsV1": fields}
    kept = watch.keep(obj(metadata={"managedFields": [entry]}))["metadata"]
    assert str(written(WAKE_ANNOTATION, kept["managedFields"])) == "2026-11-21 10:00:00+00:00"
    assert "team" not in str(kept)
    assert "managedFields" not in watch.keep(obj(metadata={"managedFields": [{**entry, "fieldsV1": {}}]}))["metadata"]


def test_only_managed_fields_of_wake_and_sleep_annotations_are_stored() -> None:
    wake_fields: dict[str, Any] = {"f:metadata": {"f:annotations": {"f:slipway.dev/wake": {}}}}
    entries = [
        {"manager": "kubectl-annotate", "time": "2026-11-21T10:00:00Z", "fieldsV1": wake_fields},
        {"manager": "kubectl", "time": "2026-11-21T09:00:00Z", "fieldsV1": {"f:spec": {"f:scaling": {}}}},
    ]
    obj = {"kind": "LLMDeployment", "metadata": {"name": "llama", "managedFields": entries}}
    assert stored_of_model(obj)["metadata"]["managedFields"] == [
        {"time": "2026-11-21T10:00:00Z", "fieldsV1": wake_fields}
    ]
    assert stored_of_model(stored_of_model(obj)) == stored_of_model(obj)
