"""Computes the Supply from nodes, pods, NodePools and what drivers offer for claims. Pure."""

from slipway.operator.planning.stock.cluster import Cluster, DeviceClasses, NodePool, Requirement
from slipway.operator.planning.stock.counting import supply_of
from slipway.operator.planning.stock.describing import status_of
from slipway.operator.planning.stock.device_classes import device_classes
from slipway.operator.planning.stock.node_pools import pool_of
from slipway.operator.planning.stock.nodes import NodeFacts, facts_of
from slipway.operator.planning.stock.pods import used_by

__all__ = [
    "Cluster",
    "DeviceClasses",
    "NodeFacts",
    "NodePool",
    "Requirement",
    "device_classes",
    "facts_of",
    "pool_of",
    "status_of",
    "supply_of",
    "used_by",
]
