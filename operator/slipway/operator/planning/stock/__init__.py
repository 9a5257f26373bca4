"""Computes the Supply from nodes, pods, NodePools and what drivers offer for claims. Pure."""

from slipway.operator.planning.stock.cluster import Cluster, DeviceClasses, NodePool, Requirement
from slipway.operator.planning.stock.counting import supply_of
from slipway.operator.planning.stock.node_pools import pool_of
from slipway.operator.planning.stock.nodes import NodeFacts, facts_of

__all__ = [
    "Cluster",
    "DeviceClasses",
    "NodeFacts",
    "NodePool",
    "Requirement",
    "facts_of",
    "pool_of",
    "supply_of",
]
