"""Where the pods of a plan may run: labels of nodes, and claims of devices.

A plan has one or more sets of labels, and a node needs all labels of any one: clouds and drivers label the same
accelerator differently. One set is a nodeSelector. Several are a required nodeAffinity with a term for each, because a
nodeSelector can't express "or". What a plan excludes (spot nodes, drivers that are too old) is part of each term.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from slipway.api.reasons import Reason
from slipway.objects.kinds import RESOURCE_CLAIM_TEMPLATE, Object, ObjectKey
from slipway.objects.metadata import name_of
from slipway.observing.rollout import is_updating
from slipway.observing.snapshot import Snapshot
from slipway.operator.planning import Plan
from slipway.operator.planning.divided import NVIDIA_GPU, admits_divided, excluding
from slipway.operator.planning.spot import MARKS
from slipway.operator.planning.supply import Spot
from slipway.operator.rendering.desired import Child, UnrenderableError
from slipway.operator.rendering.normal_form import digest

CLAIM = "accelerators"  # the name of the claim within a pod
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
LENGTH_OF_SUFFIX = 8


# --- nodes ------------------------------------------------------------------------------------------------------------


def node_selection(plan: Plan, serving_runtime: Object) -> Object:
    """The fields of the pod that select nodes."""
    sets = _label_sets(plan)
    selector = {"nodeSelector": sets[0]} if len(sets) == 1 and sets[0] else {}
    ours = [_both(one, other) for one in _terms(plan, sets) for other in _without_excluded(plan)]
    if not any(ours):
        return selector
    terms = [_both(theirs, each) for theirs in _terms_of_runtime(serving_runtime) for each in ours]
    return {**selector, "affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}}


def remarks_on_nodes(plan: Plan, of_spec: Mapping[str, str]) -> Iterator[str]:
    """Says which label of the spec takes the place of one of the profile. `of_spec`: pod.nodeSelector."""
    for name, value in of_spec.items():
        others = sorted({term[name] for term in plan.node_terms if term.get(name, value) != value})
        if others:
            yield (
                f"pod.nodeSelector: {name}={value} replaces {' and '.join(others)}, the value of that label in the "
                f"AcceleratorProfile {plan.profile}."
            )


def _label_sets(plan: Plan) -> list[dict[str, str]]:
    """Each set with the labels that every node needs, which win; each once. A set without labels admits any node."""
    sets = [{**term, **plan.node_selector} for term in plan.node_terms] or [dict(plan.node_selector)]
    if any(not each for each in sets):
        return [{}]
    return [each for place, each in enumerate(sets) if each not in sets[:place]]


def _terms(plan: Plan, sets: list[dict[str, str]]) -> list[Object]:
    """For several sets. Those that don't name the product exclude nodes that divide their GPUs among pods."""
    if len(sets) == 1:
        return [{}]
    excluding_divided = excluding() if NVIDIA_GPU in plan.resources.get("limits", {}) else []
    return [
        {"matchExpressions": [*_expressions(each), *([] if admits_divided(each) else excluding_divided)]}
        for each in sets
    ]


def _expressions(labels: Mapping[str, str]) -> list[Object]:
    return [{"key": name, "operator": "In", "values": [value]} for name, value in sorted(labels.items())]


def _without_excluded(plan: Plan) -> list[Object]:
    """A node must meet one of these: it lacks a label of each excluded set. Sets of one label are in all of these, by
    name; NotIn admits nodes without the label."""
    alone: dict[str, list[str]] = {}
    for labels in plan.excluded_nodes:
        if len(labels) == 1:
            [(name, value)] = labels.items()
            alone.setdefault(name, []).append(value)
    found: list[Object] = [{"matchExpressions": [_not_in(*each) for each in alone.items()]} if alone else {}]
    for labels in plan.excluded_nodes:
        if len(labels) > 1:
            lacking = [{"matchExpressions": [_not_in(name, [value])]} for name, value in sorted(labels.items())]
            found = [_both(one, other) for one in found for other in lacking]
    return found


def _not_in(name: str, values: list[str]) -> Object:
    return {"key": name, "operator": "NotIn", "values": values}


def mentions_spot(inference_service: Object, wanted: Spot) -> bool:
    """Whether its pods are kept away from spot nodes, or, where they are required, from others."""
    predictor = inference_service.get("spec", {}).get("predictor", {})
    affinity = predictor.get("affinity") or {}
    terms = ((affinity.get("nodeAffinity") or {}).get(REQUIRED) or {}).get("nodeSelectorTerms") or []
    found = [each for term in terms for each in term.get("matchExpressions") or []]
    operator = "NotIn" if wanted == "Never" else "In"
    named = {each["key"] for each in found if each["operator"] == operator}
    if wanted == "Required":
        named |= set(predictor.get("nodeSelector") or {})
    return not named.isdisjoint(name for name, _ in MARKS)


def _terms_of_runtime(serving_runtime: Object) -> list[Object]:
    """KServe merges the affinity of the InferenceService into that of the ServingRuntime, and replaces such a list."""
    affinity = serving_runtime["spec"].get("affinity") or {}
    required = (affinity.get("nodeAffinity") or {}).get(REQUIRED) or {}
    return required.get("nodeSelectorTerms") or [{}]


def _both(one: Object, other: Object) -> Object:
    return {name: [*(one.get(name) or []), *(other.get(name) or [])] for name in sorted({**one, **other})}


# --- claims of devices ------------------------------------------------------------------------------------------------


def pod_claims(plan: Plan, name: str) -> list[Object]:
    """The claims of a pod of the LLMDeployment `name`; each pod gets devices of its own."""
    if not plan.device_class:
        return []
    return [{"name": CLAIM, "resourceClaimTemplateName": template_name(plan, name)}]


def container_claims(plan: Plan) -> list[Object]:
    return [{"name": CLAIM}] if plan.device_class else []


def template_name(plan: Plan, name: str) -> str:
    """Another name for other devices: Kubernetes lets no template change, and pods must be replaced to get others."""
    return f"{name}-{digest([plan.device_class, plan.gpus_per_replica])[:LENGTH_OF_SUFFIX]}"


def is_template_name(text: str, name: str) -> bool:
    """Whether a template of the LLMDeployment `name` may have that name."""
    start, _, suffix = text.rpartition("-")
    return start == name and len(suffix) == LENGTH_OF_SUFFIX


def refuse_unserved_claims(plan: Plan, snapshot: Snapshot) -> None:
    if plan.device_class and RESOURCE_CLAIM_TEMPLATE not in snapshot.kinds:
        raise UnrenderableError(
            f"The AcceleratorProfile {plan.profile} claims devices of the DeviceClass {plan.device_class}, and this "
            f"API server doesn't serve {RESOURCE_CLAIM_TEMPLATE.api_version}: use Kubernetes 1.34 or later, or name a "
            "profile with a resource in accelerator.profiles.",
            Reason.NO_ACCELERATOR_FITS,
        )


def _pod_of(inference_service: Object) -> Object:
    """The fields of the pod that are in an InferenceService."""
    return (inference_service.get("spec") or {}).get("predictor") or {}


def template_of(pod: Object) -> str:
    """The template that a pod's spec, or that of a predictor, names; empty if it claims nothing."""
    claims = pod.get("resourceClaims") or []
    return next((str(each.get("resourceClaimTemplateName") or "") for each in claims if each["name"] == CLAIM), "")


def unused_templates(inference_service: Object, snapshot: Snapshot) -> list[ObjectKey]:
    """Those of earlier plans, once no pod of theirs is left: until then, one that fails may be replaced."""
    if is_updating(snapshot):
        return []
    pods = [_pod_of(inference_service), _pod_of(snapshot.inference_service or {}), *(e["spec"] for e in snapshot.pods)]
    used, metadata = {template_of(each) for each in pods}, inference_service["metadata"]
    return [
        ObjectKey(RESOURCE_CLAIM_TEMPLATE, metadata["namespace"], name)
        for name in map(name_of, snapshot.claim_templates)
        if name not in used and is_template_name(name, metadata["name"])
    ]


def remarks_on_claims(inference_service: Object, template: Child | None, snapshot: Snapshot) -> Iterator[str]:
    """Pods that are kept as an earlier plan made them need the template of that plan."""
    used = template_of(_pod_of(inference_service))
    known = {name_of(each) for each in snapshot.claim_templates} | ({template.name} if template else set())
    if used and used not in known:
        yield (
            f"The ResourceClaimTemplate {used}, by which its pods claim devices, is gone, so no new pod can start: "
            "restore it, or have the pods remade by the annotation slipway.dev/sync."
        )
