"""What a replica requests of Kubernetes: devices, CPUs, memory, and nodes that have them."""

from __future__ import annotations

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.units import amount
from slipway.objects.kinds import Object
from slipway.operator.planning.engines import CPU
from slipway.operator.planning.memory.settings import GIB

CPUS, HOST_GIB, SHARED_GIB, START_SECONDS = 2, 8, 8, 1800
"""What the ServingRuntime slipway-vllm-cuda has: requests for one device, GiB of /dev/shm, and time to start."""
HOST_GIB_OF_NEXT, SHARED_GIB_OF_EACH = 4, 2
SLOWEST, ELSE_SECONDS = 100e6, 900.0
"""Bytes per second of a slow volume; and the seconds for imports, compiling and graphs."""


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
    if "memory" in limits and "memory" in own.requests and "memory" not in own.limits:
        limits = {**limits, "memory": max(limits["memory"], own.requests["memory"], key=amount)}
    return {"requests": requests, "limits": {**limits, **own.limits}}


def _of_profile(profile: AcceleratorProfile, devices: int) -> tuple[dict[str, str], dict[str, str]]:
    facts = profile.spec
    if facts.resource is None:
        return {}, {}
    if facts.vendor == CPU:
        return {"cpu": str(facts.resource.count)}, {"memory": facts.memory}
    wanted = {facts.resource.name: str(facts.resource.count * devices)}
    return wanted, dict(wanted)  # Kubernetes wants both to be the same for devices


def of_host(devices: int) -> dict[str, str]:
    """CPUs and host memory for several devices, each of which has a process of its own; for one, the runtime's.

    Weights are mapped from their files, so loading takes no memory that the node couldn't take back.
    """
    if devices <= 1:
        return {}
    return {"cpu": str(CPUS + devices - 1), "memory": f"{HOST_GIB + HOST_GIB_OF_NEXT * (devices - 1)}Gi"}


def shared_memory(devices: int) -> int | None:
    """Bytes of /dev/shm, through which the processes of several devices exchange data where they have no direct link.

    It counts as the pod's memory as far as it is used. None: what the runtime has is enough.
    """
    needed = SHARED_GIB_OF_EACH * devices * GIB
    return needed if needed > SHARED_GIB * GIB else None


def start_limit(weights: int | None) -> float | None:
    """Seconds to load files from a slow volume, and for everything else. None: the runtime's own limit is enough."""
    needed = ELSE_SECONDS + (weights or 0) / SLOWEST
    return needed if needed > START_SECONDS else None


def node_terms(profile: AcceleratorProfile | None) -> tuple[dict[str, str], ...]:
    """Sets of labels by which the profile's nodes are recognised: a node has all labels of any one."""
    if profile is None or not profile.spec.node_labels:
        return ()
    return (dict(profile.spec.node_labels), *map(dict, profile.spec.other_node_labels))


def node_selector(spec: LLMDeploymentSpec, profile: AcceleratorProfile | None) -> dict[str, str]:
    """Labels that every node must have, besides one of the sets of `node_terms`."""
    terms = profile.spec.spot if profile and spec.accelerator.spot == "Required" else None
    return {**(terms.node_labels if terms else {}), **spec.pod.node_selector}


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
