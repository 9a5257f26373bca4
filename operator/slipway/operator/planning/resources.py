"""What a replica requests of Kubernetes: devices, CPUs, memory, and nodes that have them."""

from __future__ import annotations

from collections.abc import Iterator

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.units import amount
from slipway.objects.kinds import Object
from slipway.operator.planning import spot
from slipway.operator.planning.drivers import DriverCheck
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


def host_request(spec: LLMDeploymentSpec, profile: AcceleratorProfile) -> tuple[int, int]:
    """Thousandths of CPUs and bytes of memory that a replica on CPUs requests at least. The memory of a profile is a
    limit; without a request of the spec, that of the ServingRuntime counts, which is small."""
    wanted = requested(spec, profile, 1)["requests"]
    return int(amount(wanted.get("cpu", "0")) * 1000), int(amount(wanted.get("memory", "0")))


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


def node_terms(spec: LLMDeploymentSpec, profile: AcceleratorProfile | None) -> tuple[dict[str, str], ...]:
    """Sets of labels by which the nodes are recognised: a node has all labels of any one."""
    facts = profile.spec if profile else None
    sets = facts.label_sets if facts else ()
    if spec.accelerator.spot != "Required":
        return tuple(map(dict, sets))
    found = [each for labels in sets or ({},) for each in spot.with_marks(labels, facts)]
    return tuple(each for place, each in enumerate(found) if each not in found[:place])


def excluded_nodes(
    spec: LLMDeploymentSpec, profile: AcceleratorProfile | None, drivers: DriverCheck
) -> tuple[dict[str, str], ...]:
    """Sets of labels: a node that has all labels of any one is never used."""
    of_spot = spot.marked(profile.spec if profile else None) if spec.accelerator.spot == "Never" else ()
    return (*of_spot, *drivers.excluded)


def only_spot_selected(spec: LLMDeploymentSpec) -> Iterator[str]:
    """A warning, where no node is left."""
    selected = [f"{key}={value}" for key, value in spot.MARKS if spec.pod.node_selector.get(key) == value]
    if selected and spec.accelerator.spot == "Never":
        yield (
            f"pod.nodeSelector selects spot nodes ({', '.join(selected)}) and accelerator.spot is Never, so no node is "
            "left: set accelerator.spot to Allowed or Required."
        )


def tolerations(spec: LLMDeploymentSpec, profile: AcceleratorProfile | None) -> list[Object]:
    """The profile's, those of spot nodes if the spec allows them, and the spec's own; each once."""
    wanted = list(profile.spec.tolerations) if profile else []
    if spec.accelerator.spot != "Never":
        wanted += spot.tolerations(profile.spec if profile else None)
    written = [each.model_dump(by_alias=True, exclude_none=True) for each in (*wanted, *spec.pod.tolerations)]
    return [each for place, each in enumerate(written) if each not in written[:place]]


def runtime_class(spec: LLMDeploymentSpec, profile: AcceleratorProfile | None) -> str | None:
    return spec.pod.runtime_class_name or (profile.spec.runtime_class if profile else None)
