"""A real cluster. What most cluster tests need is imported from here, and the rest from the modules of this package."""

from __future__ import annotations

from support.builders.objects import Object
from support.cluster.access import FromTheNode, ServiceAccess
from support.cluster.clusters import AnyCluster, Neighbour, Settings
from support.cluster.kube import Kube, KubectlError, Predicate, WaitedInVainError, condition_of, is_ready
from support.cluster.llmdeployments import (
    children,
    conditions,
    created,
    current_status,
    events_with,
    is_stalled,
    settled,
    until_settled,
)
from support.cluster.namespaces import own_namespace
from support.cluster.tester import ReachableServer
from support.cluster.volumes import folder_claimed
from support.programs.operator import Operator

__all__ = [
    "AnyCluster",
    "FromTheNode",
    "Kube",
    "KubectlError",
    "Neighbour",
    "Object",
    "Operator",
    "Predicate",
    "ReachableServer",
    "ServiceAccess",
    "Settings",
    "WaitedInVainError",
    "children",
    "condition_of",
    "conditions",
    "created",
    "current_status",
    "events_with",
    "folder_claimed",
    "is_ready",
    "is_stalled",
    "own_namespace",
    "settled",
    "until_settled",
]
