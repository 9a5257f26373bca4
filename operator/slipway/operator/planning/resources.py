"""What a replica requests of Kubernetes: devices, CPUs, memory, and nodes that have them."""

from __future__ import annotations

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.objects.kinds import Object
from slipway.operator.planning.engines import CPU


def parallelism(spec: LLMDeploymentSpec) -> tuple[int, int]:
    """Tensor and pipeline parallelism of the spec; Auto is 1 where the model's size isn't known."""
    wanted = spec.engine.parallelism
    return (1 if wanted.tensor == "Auto" else wanted.tensor), wanted.pipeline


def requested(spec: LLMDeploymentSpec, profile: AcceleratorProfile | None, devices: int) -> dict[str, dict[str, str]]:
    """Requests and limits: the profile's, then those of pod.resources. The rest is the runtime's.

    As everywhere in Kubernetes, a limit without a request is the request too.
    """
    requests, limits = _of_profile(profile, devices) if profile else ({}, {})
    own = spec.pod.resources
    requests = {**requests, **own.limits, **own.requests}
    return {"requests": requests, "limits": {**limits, **own.limits}}


def _of_profile(profile: AcceleratorProfile, devices: int) -> tuple[dict[str, str], dict[str, str]]:
    facts = profile.spec
    if facts.resource is None:
        return {}, {}
    if facts.vendor == CPU:
        return {"cpu": str(facts.resource.count)}, {"memory": facts.memory}
    wanted = {facts.resource.name: str(facts.resource.count * devices)}
    return wanted, dict(wanted)  # Kubernetes wants both to be the same for devices


def node_terms(profile: AcceleratorProfile | None) -> tuple[dict[str, str], ...]:
    """Sets of labels by which the profile's nodes are recognised: a node has all labels of any one."""
    if profile is None or not profile.spec.node_labels:
        return ()
    return (dict(profile.spec.node_labels), *map(dict, profile.spec.other_node_labels))


def node_selector(spec: LLMDeploymentSpec, profile: AcceleratorProfile | None) -> dict[str, str]:
    labels = dict(profile.spec.node_labels) if profile else {}
    if profile and profile.spec.spot and spec.accelerator.spot == "Required":
        labels |= profile.spec.spot.node_labels
    return labels | spec.pod.node_selector


def tolerations(spec: LLMDeploymentSpec, profile: AcceleratorProfile | None) -> list[Object]:
    """The profile's, those of spot nodes if the spec allows them, and the spec's own; each once."""
    wanted = list(profile.spec.tolerations) if profile else []
    if profile and profile.spec.spot and spec.accelerator.spot != "Never":
        wanted += profile.spec.spot.tolerations
    written = [each.model_dump(by_alias=True, exclude_none=True) for each in (*wanted, *spec.pod.tolerations)]
    return [each for place, each in enumerate(written) if each not in written[:place]]


def runtime_class(spec: LLMDeploymentSpec, profile: AcceleratorProfile | None) -> str | None:
    return spec.pod.runtime_class_name or (profile.spec.runtime_class if profile else None)


def cost(profile: AcceleratorProfile) -> tuple[float, str]:
    """Sorts profiles by price, those without a price last, and by name among equals."""
    price = profile.spec.cost_per_hour
    return (float("inf") if price is None else price), profile.metadata.name
