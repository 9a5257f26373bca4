"""Nodes whose GPUs are divided among pods: by time slicing, MPS, or MIG under the name of whole GPUs. Pure.

GPU Feature Discovery appends -SHARED or the MIG profile to the product, so that a profile with that label has whole
GPUs alone. The labels of clouds and instance types don't: a set of them admits a node only if none of these labels says
that its GPUs are divided, unless the set itself names one.
"""

from __future__ import annotations

from collections.abc import Mapping

from slipway.objects.kinds import Object

NVIDIA_GPU = "nvidia.com/gpu"
PRODUCT = "nvidia.com/gpu.product"
MIG_OF_WHOLE_NAME = "nvidia.com/gpu.slices.gi"  # with the MIG strategy `single`
PARTITION = "cloud.google.com/gke-gpu-partition-size"
SHARED: Mapping[str, tuple[str, ...]] = {
    "nvidia.com/gpu.sharing-strategy": ("time-slicing", "mps"),
    "cloud.google.com/gke-gpu-sharing-strategy": ("time-sharing", "mps"),
}
DIVIDED = (MIG_OF_WHOLE_NAME, PARTITION)  # with any value
NAMING = {PRODUCT, *SHARED, *DIVIDED}


def admits_divided(labels: Mapping[str, str]) -> bool:
    """Whether a set of labels says itself which GPUs it means."""
    return not NAMING.isdisjoint(labels)


def is_divided(labels: Mapping[str, str]) -> bool:
    """Whether the labels of a node say so."""
    shared = any(labels.get(name) in values for name, values in SHARED.items())
    return shared or any(name in labels for name in DIVIDED)


def excluding() -> list[Object]:
    """The same as expressions of a node affinity."""
    shared: list[Object] = [
        {"key": name, "operator": "NotIn", "values": list(values)} for name, values in SHARED.items()
    ]
    return [*shared, *({"key": name, "operator": "DoesNotExist"} for name in DIVIDED)]
