"""What is known of one node: its labels, what it offers to pods, and whether pods can start there. Pure.

Nodes come from many providers, and every label may be missing or malformed: what can't be read counts as not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from slipway.api.kubernetes import Toleration
from slipway.api.units import amount
from slipway.objects.kinds import Object
from slipway.operator.planning import spot

LARGEST = Decimal(2**62)
BARRING = ("NoSchedule", "NoExecute")
CONDITIONS = ("unschedulable", "not-ready", "unreachable", "network-unavailable")
SHORTAGES = ("memory-pressure", "disk-pressure", "pid-pressure")
OF_NODES = (*CONDITIONS, *SHORTAGES, "out-of-service")
OF_STARTING_NODES = (
    "node.cloudprovider.kubernetes.io/uninitialized",
    "node.cilium.io/agent-not-ready",
    "ebs.csi.aws.com/agent-not-ready",
    "karpenter.sh/unregistered",
)
OF_LEAVING_NODES = (
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",  # of its versions before 1.0
    "node.cloudprovider.kubernetes.io/shutdown",
    "ToBeDeletedByClusterAutoscaler",
    "DeletionCandidateOfClusterAutoscaler",
)
PASSING = frozenset({*(f"node.kubernetes.io/{each}" for each in OF_NODES), *OF_STARTING_NODES, *OF_LEAVING_NODES})
"""Taints that Kubernetes, autoscalers and the agents of nodes themselves add and remove: they close a node for a
while."""
NVIDIA_DRIVER = ("nvidia.com/cuda.driver-version", "nvidia.com/cuda.driver")  # GPU Feature Discovery's, new and old
NVIDIA_CUDA = ("nvidia.com/cuda.runtime-version", "nvidia.com/cuda.runtime")
AMD_DRIVER = "amd.com/gpu.driver-version"
VERSION = re.compile(r"\d{1,6}(\.\d{1,6}){0,3}")


class Taint(NamedTuple):
    """One that keeps pods away."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


@dataclass(frozen=True, slots=True)
class NodeFacts:
    name: str
    labels: Mapping[str, str]
    offered: Mapping[str, int]  # allocatable; cpu in thousandths
    taints: tuple[Taint, ...]  # lasting ones
    usable: bool  # ready, not cordoned, and without any of the passing taints
    driver: str  # the version of the accelerator's driver; empty: no label says it
    cuda: str  # the newest version of CUDA that the driver supports; empty: no label says it
    is_spot: bool  # by the labels of a cloud


def facts_of(node: Object) -> NodeFacts:
    metadata, spec, status = (mapping(node.get(part)) for part in ("metadata", "spec", "status"))
    labels = {str(key): str(value) for key, value in mapping(metadata.get("labels")).items()}
    taints = barring_taints(spec.get("taints"))
    lasting = tuple(each for each in taints if each.key not in PASSING)
    return NodeFacts(
        name=str(metadata.get("name") or ""),
        labels=labels,
        offered=quantities(status.get("allocatable")),
        taints=lasting,
        usable=not spec.get("unschedulable") and _is_ready(status) and len(lasting) == len(taints),
        driver=driver_of(labels),
        cuda=cuda_of(labels),
        is_spot=spot.is_marked(labels),
    )


def quantities(resources: object) -> dict[str, int]:
    """Resources by name, as whole numbers: cpu in thousandths, everything else in its own unit."""
    read = {str(name): _whole(value, 1000 if name == "cpu" else 1) for name, value in mapping(resources).items()}
    return {name: value for name, value in read.items() if value}


def barring_taints(taints: object) -> tuple[Taint, ...]:
    found = (mapping(each) for each in listed(taints))
    return tuple(
        Taint(str(each.get("key") or ""), str(each.get("value") or ""), str(each["effect"]))
        for each in found
        if each.get("effect") in BARRING
    )


def tolerates(tolerations: Sequence[Toleration], taint: Taint) -> bool:
    """By the rules of Kubernetes."""
    return any(_tolerates(each, taint) for each in tolerations)


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if not toleration.key:
        return toleration.operator == "Exists"
    is_value = toleration.operator == "Exists" or (toleration.value or "") == taint.value
    return toleration.key == taint.key and is_value


# --- versions --------------------------------------------------------------------------------------------------------


def driver_of(labels: Mapping[str, str]) -> str:
    """NVIDIA's, or AMD's."""
    return _labelled_version(labels, NVIDIA_DRIVER, ("major", "minor", "rev"), ("major", "minor", "revision")) or (
        _plain_version(labels.get(AMD_DRIVER, ""))
    )


def cuda_of(labels: Mapping[str, str]) -> str:
    return _labelled_version(labels, NVIDIA_CUDA, ("major", "minor"), ("major", "minor"))


def _labelled_version(
    labels: Mapping[str, str], prefixes: tuple[str, str], old: Sequence[str], new: Sequence[str]
) -> str:
    """`PREFIX.full`, or its parts in labels of their own, as older versions wrote them."""
    present, former = prefixes
    if full := _plain_version(labels.get(f"{present}.full", "")):
        return full
    for prefix, parts in ((present, new), (former, old)):
        there = [labels.get(f"{prefix}.{part}", "") for part in parts]
        if there[0]:
            return _plain_version(".".join(each for each in there if each))
    return ""


def _plain_version(text: str) -> str:
    found = VERSION.match(text)
    return found.group() if found else ""


def in_order(versions: Iterable[str]) -> tuple[str, ...]:
    """Each once, the oldest first."""
    return tuple(sorted({each for each in versions if each}, key=numbers))


def numbers(version: str) -> tuple[int, ...]:
    """`580.65.06` as (580, 65, 6), to compare versions."""
    return tuple(int(each) for each in _plain_version(version).split(".") if each)


# --- values of any form ----------------------------------------------------------------------------------------------


def _is_ready(status: Mapping[str, Any]) -> bool:
    conditions = (mapping(each) for each in listed(status.get("conditions")))
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def _whole(value: object, factor: int) -> int:
    return _amount(str(value), factor) if isinstance(value, str | int) and not isinstance(value, bool) else 0


@lru_cache(maxsize=4096)  # thousands of nodes offer the same
def _amount(text: str, factor: int) -> int:
    try:
        return int(min(max(amount(text) * factor, Decimal(0)), LARGEST))
    except (ValueError, ArithmeticError):
        return 0


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
