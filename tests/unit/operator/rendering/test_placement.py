"""On which nodes the pods of a plan may run, and which devices they claim."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.reasons import Reason
from slipway.objects.kinds import RESOURCE_CLAIM_TEMPLATE, Object, ObjectKey
from slipway.operator.planning import Plan
from slipway.operator.rendering import Desired, Unrenderable
from support.builders.rendering import of_kind, on_h100, plan, rendered, runtime

GFD = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
GKE = {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
AKS = {"kubernetes.azure.com/accelerator": "nvidia", "agentpool": "h100"}
ZONE = {"zone": "a"}
SERVED = frozenset({RESOURCE_CLAIM_TEMPLATE})


def with_plan(
    planned: Plan, wanted: LLMDeployment | None = None, *, serving_runtime: Object | None = None, **world: Any
) -> Desired:
    theirs = serving_runtime or runtime(planned.runtime)
    answer = rendered(wanted or on_h100(), planned, serving_runtime=theirs, **world)
    assert isinstance(answer, Desired), answer
    return answer


def pod_of(answer: Desired) -> Object:
    found: Object = of_kind(answer, "InferenceService")["spec"]["predictor"]
    return found


def on_nodes(*terms: dict[str, str], besides: dict[str, str] | None = None) -> Plan:
    return replace(plan(on_h100()), node_terms=terms, node_selector=besides or {}, excluded_nodes=())


WHOLE_GPUS = [
    {"key": "nvidia.com/gpu.sharing-strategy", "operator": "NotIn", "values": ["time-slicing", "mps"]},
    {"key": "cloud.google.com/gke-gpu-sharing-strategy", "operator": "NotIn", "values": ["time-sharing", "mps"]},
    {"key": "nvidia.com/gpu.slices.gi", "operator": "DoesNotExist"},
    {"key": "cloud.google.com/gke-gpu-partition-size", "operator": "DoesNotExist"},
]
"""Where labels don't name the product: its name would say that a GPU is divided among pods."""


def term(**labels: str) -> Object:
    expressions = [{"key": key, "operator": "In", "values": [labels[key]]} for key in sorted(labels)]
    return {"matchExpressions": [*expressions, *([] if "nvidia.com/gpu.product" in labels else WHOLE_GPUS)]}


def required(*terms: Object) -> Object:
    selector = {"nodeSelectorTerms": [*terms]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}}


# --- nodes ------------------------------------------------------------------------------------------------------------

NODES = [
    pytest.param(on_nodes(), {}, id="any node"),
    pytest.param(on_nodes(besides=ZONE), {"nodeSelector": ZONE}, id="labels of the spec alone"),
    pytest.param(on_nodes(GFD), {"nodeSelector": GFD}, id="one set"),
    pytest.param(on_nodes(GFD, besides=ZONE), {"nodeSelector": {**GFD, **ZONE}}, id="one set, and labels of the spec"),
    pytest.param(on_nodes(GFD, GFD), {"nodeSelector": GFD}, id="a set that is listed twice"),
    pytest.param(on_nodes(GFD, GKE, AKS), required(term(**GFD), term(**GKE), term(**AKS)), id="several sets"),
    pytest.param(
        on_nodes(GFD, GKE, besides=ZONE),
        required(term(**GFD, **ZONE), term(**GKE, **ZONE)),
        id="several sets, and labels of the spec in each",
    ),
    pytest.param(on_nodes(GFD, {}), {}, id="a set without labels, which every node has"),
    pytest.param(
        on_nodes(GFD, GKE, besides={"nvidia.com/gpu.product": "mine"}),
        required(term(**{"nvidia.com/gpu.product": "mine"}), term(**GKE, **{"nvidia.com/gpu.product": "mine"})),
        id="a label of the spec wins",
    ),
]


@pytest.mark.parametrize(("planned", "fields"), NODES)
def test_a_node_needs_all_labels_of_one_set_and_those_of_the_spec(planned: Plan, fields: Object) -> None:
    pod = pod_of(with_plan(planned))
    assert {name: pod[name] for name in ("nodeSelector", "affinity") if name in pod} == fields


def test_required_nodes_of_the_runtime_stay_required_because_kserve_would_replace_them() -> None:
    theirs = runtime("slipway-vllm-cuda")
    big = {"matchExpressions": [{"key": "size", "operator": "Exists"}], "matchFields": [{"key": "metadata.name"}]}
    old = {"matchExpressions": [{"key": "age", "operator": "Gt", "values": ["3"]}]}
    theirs["spec"] |= required(big, old)
    assert (
        pod_of(with_plan(on_nodes(GFD, GKE), serving_runtime=theirs))["affinity"]
        == required(
            {
                "matchExpressions": [*big["matchExpressions"], *term(**GFD)["matchExpressions"]],
                "matchFields": big["matchFields"],
            },
            {
                "matchExpressions": [*big["matchExpressions"], *term(**GKE)["matchExpressions"]],
                "matchFields": big["matchFields"],
            },
            {"matchExpressions": [*old["matchExpressions"], *term(**GFD)["matchExpressions"]]},
            {"matchExpressions": [*old["matchExpressions"], *term(**GKE)["matchExpressions"]]},
        )["affinity"]
    )


def not_in(name: str, *values: str) -> Object:
    return {"key": name, "operator": "NotIn", "values": list(values)}


EXCLUDED = ({"driver": "535"}, {"driver": "550"}, {"spot": "yes"})
LACKING = [not_in("driver", "535", "550"), not_in("spot", "yes")]


@pytest.mark.parametrize(
    ("planned", "fields"),
    [
        (on_nodes(), required({"matchExpressions": LACKING})),
        (on_nodes(GFD), {"nodeSelector": GFD, **required({"matchExpressions": LACKING})}),
        (
            on_nodes(GFD, GKE),
            required(*({"matchExpressions": [*term(**each)["matchExpressions"], *LACKING]} for each in (GFD, GKE))),
        ),
    ],
    ids=["any node", "one set", "several sets"],
)
def test_excluded_nodes_are_in_each_term(planned: Plan, fields: Object) -> None:
    pod = pod_of(with_plan(replace(planned, excluded_nodes=EXCLUDED)))
    assert {name: pod[name] for name in ("nodeSelector", "affinity") if name in pod} == fields


def test_a_node_with_only_some_labels_of_an_excluded_set_is_admitted() -> None:
    planned = replace(on_nodes(GFD), excluded_nodes=({"pool": "a", "spot": "yes"}, {"driver": "535"}))
    driver = not_in("driver", "535")
    assert (
        pod_of(with_plan(planned))["affinity"]
        == required(
            {"matchExpressions": [driver, not_in("pool", "a")]}, {"matchExpressions": [driver, not_in("spot", "yes")]}
        )["affinity"]
    )


def test_excluded_nodes_and_those_that_the_runtime_requires_are_both_respected() -> None:
    theirs = runtime("slipway-vllm-cuda")
    theirs["spec"] |= required({"matchExpressions": [{"key": "size", "operator": "Exists"}]})
    affinity = pod_of(with_plan(replace(on_nodes(GFD), excluded_nodes=EXCLUDED), serving_runtime=theirs))["affinity"]
    assert affinity == required({"matchExpressions": [{"key": "size", "operator": "Exists"}, *LACKING]})["affinity"]


def test_a_label_that_the_spec_replaces_is_reported() -> None:
    mine = {"nvidia.com/gpu.product": "mine", **ZONE}
    answer = with_plan(on_nodes(GFD, GKE, besides=mine), on_h100(pod={"nodeSelector": mine}))
    [remark] = [each for each in answer.remarks if each.startswith("pod.nodeSelector")]
    assert remark == (
        "pod.nodeSelector: nvidia.com/gpu.product=mine replaces NVIDIA-H100-80GB-HBM3, the value of that label in the "
        "AcceleratorProfile h100."
    )


def test_a_set_that_names_how_gpus_are_shared_is_taken_as_it_is() -> None:
    shared = {**GKE, "cloud.google.com/gke-gpu-sharing-strategy": "time-sharing"}
    affinity = pod_of(with_plan(on_nodes(GFD, shared)))["affinity"]["nodeAffinity"]
    [_, second] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [each["operator"] for each in second["matchExpressions"]] == ["In", "In"]


# --- claims of devices ------------------------------------------------------------------------------------------------


def claiming(count: int = 2, device_class: str = "gpu.nvidia.com") -> Plan:
    return replace(plan(on_h100()), device_class=device_class, gpus_per_replica=count, resources={})


def template(answer: Desired) -> Object:
    return of_kind(answer, "ResourceClaimTemplate")


def live(name: str, **metadata: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "chat", **metadata}}


def test_devices_of_a_class_are_claimed_by_a_template_for_each_pod() -> None:
    answer = with_plan(claiming(), kinds=SERVED)
    made, pod = template(answer), pod_of(answer)
    assert made["spec"] == {
        "metadata": {
            "labels": {"slipway.dev/llmdeployment": "llama", "app.kubernetes.io/managed-by": "slipway"},
        },
        "spec": {
            "devices": {
                "requests": [
                    {
                        "name": "accelerators",
                        "exactly": {
                            "deviceClassName": "gpu.nvidia.com",
                            "allocationMode": "ExactCount",
                            "count": 2,
                        },
                    }
                ]
            }
        },
    }
    assert pod["resourceClaims"] == [
        {"name": "accelerators", "resourceClaimTemplateName": made["metadata"]["name"]},
    ]
    assert pod["model"]["resources"] == {"claims": [{"name": "accelerators"}]}


def test_the_template_exists_before_pods_can_name_it() -> None:
    kinds = [child.kind.name for child in with_plan(claiming(), kinds=SERVED).apply]
    assert kinds.index("ResourceClaimTemplate") < kinds.index("InferenceService")


@pytest.mark.parametrize("other", [claiming(4), claiming(device_class="mig.nvidia.com")])
def test_other_devices_are_another_template_because_no_template_can_change(other: Plan) -> None:
    one, two = (template(with_plan(each, kinds=SERVED))["metadata"]["name"] for each in (claiming(), other))
    assert one != two
    assert one == template(with_plan(claiming(), kinds=SERVED))["metadata"]["name"]


def test_without_a_device_class_nothing_is_claimed() -> None:
    answer = with_plan(plan(on_h100()), kinds=SERVED)
    assert "resourceClaims" not in pod_of(answer)
    assert "claims" not in pod_of(answer)["model"]["resources"]
    assert "ResourceClaimTemplate" not in {child.kind.name for child in answer.apply}


def test_where_claims_are_not_served_the_plan_is_refused_with_the_remedy() -> None:
    answer = rendered(on_h100(), claiming(), serving_runtime=runtime("slipway-vllm-cuda"))
    assert answer == Unrenderable(
        Reason.NO_ACCELERATOR_FITS,
        "The AcceleratorProfile h100 claims devices of the DeviceClass gpu.nvidia.com, and this API server doesn't "
        "serve resource.k8s.io/v1: use Kubernetes 1.34 or later, or name a profile with a resource in "
        "accelerator.profiles.",
    )


# --- templates that are no longer needed ------------------------------------------------------------------------------

OLD = "llama-0123abcd"


def claims_of(name: str) -> list[Object]:
    return [{"name": "accelerators", "resourceClaimTemplateName": name}]


def still_live(name: str) -> Object:
    """The InferenceService before it is applied again."""
    return {**live("llama"), "spec": {"predictor": {"resourceClaims": claims_of(name)}}}


def pod_from(name: str) -> Object:
    return {"metadata": {"name": "a", "uid": "a"}, "spec": {"resourceClaims": claims_of(name)}, "status": {}}


GARBAGE = [
    pytest.param({}, True, id="nothing runs"),
    pytest.param({"is_updating": True}, False, id="a rollout goes on"),
    pytest.param({"inference_service": still_live("llama-ffffffff")}, True, id="KServe knows another"),
    pytest.param({"inference_service": still_live(OLD)}, False, id="KServe still knows it"),
    pytest.param({"more_pods": (pod_from(OLD),)}, False, id="a pod was made from it"),
    pytest.param({"more_pods": (pod_from("llama-ffffffff"),)}, True, id="a pod was made from another"),
]


@pytest.mark.parametrize(("world", "is_deleted"), GARBAGE)
@pytest.mark.parametrize("planned", [plan(on_h100()), claiming()], ids=["a resource", "other claims"])
def test_a_template_is_deleted_once_no_pod_may_name_it(planned: Plan, world: dict[str, Any], is_deleted: bool) -> None:
    answer = with_plan(planned, kinds=SERVED, claim_templates=(live(OLD),), **world)
    assert (ObjectKey(RESOURCE_CLAIM_TEMPLATE, "chat", OLD) in answer.delete) is is_deleted


def test_the_template_in_use_and_those_with_other_names_stay() -> None:
    used = template(with_plan(claiming(), kinds=SERVED))["metadata"]["name"]
    there = (live(used), live("llama"), live("another-0123abcd"))
    assert not [
        key
        for key in with_plan(claiming(), kinds=SERVED, claim_templates=there).delete
        if key.kind == RESOURCE_CLAIM_TEMPLATE
    ]
