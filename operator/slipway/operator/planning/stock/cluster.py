"""What the operator has read of the cluster, for `supply_of`. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slipway.operator.planning.stock.nodes import NodeFacts, Taint

Used = Mapping[str, int]
"""What the pods of one node have requested, by resource; cpu in thousandths."""


@dataclass(frozen=True, kw_only=True)
class NodePool:
    """What Karpenter would add nodes from."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    requirements: tuple[Requirement, ...] = ()
    taints: tuple[Taint, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    in_use: Mapping[str, int] = field(default_factory=dict)
    ready: bool = True


@dataclass(frozen=True, slots=True)
class Requirement:
    """On a label of the nodes that a NodePool brings."""

    key: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DeviceClasses:
    """What drivers offer for claims (dynamic resource allocation)."""

    on_nodes: Mapping[str, Mapping[str, int]]  # by DeviceClass and node: the number of its devices
    free_on_nodes: Mapping[str, Mapping[str, int]] | None  # None: claims aren't seen
    inexact: frozenset[str] = frozenset()  # classes with selectors that only the scheduler evaluates in full


@dataclass(frozen=True, kw_only=True)
class Cluster:
    nodes: Sequence[NodeFacts]
    used: Mapping[str, Used] = field(
        default_factory=dict
    )  # by node; one that is missing counts as full; empty: pods aren't seen
    counts_cpus: bool = False  # `used` has the nodes of CPU profiles, too
    pools: Sequence[NodePool] = ()
    device_classes: DeviceClasses | None = None  # None: the cluster has none, or they aren't seen
    remarks: tuple[str, ...] = ()  # sentences on what could not be read
