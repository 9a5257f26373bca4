"""Spot nodes: which labels say that a provider can take a node back at any time, and who may run there. Pure.

Providers label such nodes themselves, so they are recognised for every profile; a profile may name labels of its own
besides. Models whose spec doesn't allow spot nodes are kept away from all of them, also where these have no taint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from slipway.api.acceleratorprofile import AcceleratorProfileSpec
from slipway.api.kubernetes import Toleration

Labels = Mapping[str, str]

KARPENTERS = "karpenter.sh/capacity-type"
MARKS: tuple[tuple[str, str], ...] = (
    ("cloud.google.com/gke-spot", "true"),
    ("cloud.google.com/gke-provisioning", "spot"),
    ("cloud.google.com/gke-provisioning", "preemptible"),
    ("cloud.google.com/gke-preemptible", "true"),
    ("eks.amazonaws.com/capacityType", "SPOT"),
    (KARPENTERS, "spot"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
)
"""Any one of these labels says it: of GKE (https://docs.cloud.google.com/kubernetes-engine/docs/concepts/spot-vms), EKS
(https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html), Karpenter
(https://karpenter.sh/docs/concepts/nodepools/) and AKS (https://learn.microsoft.com/azure/aks/spot-node-pool)."""
CLOUDS: Mapping[str, tuple[str, ...]] = {
    "cloud.google.com/": ("cloud.google.com/", "karpenter.sh/"),
    "karpenter.k8s.aws/": ("eks.amazonaws.com/", "karpenter.sh/"),
    "eks.amazonaws.com/": ("eks.amazonaws.com/", "karpenter.sh/"),
    "kubernetes.azure.com/": ("kubernetes.azure.com/", "karpenter.sh/"),
}
"""Nodes with labels that begin so are of a cloud, and so are their marks."""
TOLERATIONS = tuple(
    Toleration(key=key, operator="Equal", value=value, effect="NoSchedule") for key, value in MARKS if key != KARPENTERS
)
"""Clouds taint spot nodes with their own labels: AKS all of them, GKE those that it adds by itself."""


def is_marked(labels: Labels) -> bool:
    """Whether the labels of a node are those of a cloud's spot nodes."""
    return any(labels.get(key) == value for key, value in MARKS)


def marked(spec: AcceleratorProfileSpec | None) -> tuple[dict[str, str], ...]:
    """Sets of labels: a node that has all labels of any one is a spot node."""
    own = spec.spot.node_labels if spec and spec.spot else {}
    return (*([dict(own)] if own else []), *({key: value} for key, value in MARKS if own != {key: value}))


def with_marks(labels: Labels, spec: AcceleratorProfileSpec | None) -> Iterator[dict[str, str]]:
    """The sets of labels by which nodes with `labels` are spot nodes."""
    mine = next((marks for start, marks in CLOUDS.items() if any(name.startswith(start) for name in labels)), None)
    for each in marked(spec):
        is_own = spec is not None and spec.spot is not None and each == spec.spot.node_labels
        is_of_cloud = mine is None or all(name.startswith(mine) for name in each)
        if (is_own or is_of_cloud) and all(labels.get(name, value) == value for name, value in each.items()):
            yield {**labels, **each}


def tolerations(spec: AcceleratorProfileSpec | None) -> tuple[Toleration, ...]:
    """For the taints of spot nodes."""
    return (*(spec.spot.tolerations if spec and spec.spot else ()), *TOLERATIONS)
