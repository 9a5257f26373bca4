"""Which addresses may call a model: `access.allowFrom`, judged as a NetworkPolicy judges it. Pure.

An entry that can't be read matches no address: it admits, so it must not admit more than was meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slipway.activator.shared.allow_from import (
    AddressRange,
    AllowFrom,
    Labels,
    PodEntry,
    PodSelector,
    SelectorRequirement,
)
from slipway.process.addresses import Address


@dataclass(frozen=True)
class CallingPod:
    """A pod at the address that a request is from."""

    namespace: str
    labels: Labels
    namespace_labels: Labels
    shares_address: bool = False  # with its node and others there, so it isn't known which of them calls


# --- addresses --------------------------------------------------------------------------------------------------------


def allows_address(allowed: AllowFrom, address: Address | None) -> bool:
    """Whether an `ipBlock` names it."""
    if address is None:
        return False
    version, number = address.version, int(address)
    return any(
        _in(block.within, version, number) and not any(_in(each, version, number) for each in block.without)
        for block in allowed.blocks
    )


def _in(within: AddressRange, version: int, number: int) -> bool:
    return within.first <= number <= within.last and within.version == version


# --- pods -------------------------------------------------------------------------------------------------------------


def allows_pods(allowed: AllowFrom, pods: Sequence[CallingPod], own_namespace: str) -> bool:
    """Of several pods at one address, any could be the caller, so all must be allowed."""
    return bool(pods) and all(any(_names(entry, pod, own_namespace) for entry in allowed.pods) for pod in pods)


def _names(entry: PodEntry, pod: CallingPod, own_namespace: str) -> bool:
    if pod.shares_address:
        return False
    if entry.namespaces is None:
        in_namespace = pod.namespace == own_namespace
    else:
        in_namespace = selects(entry.namespaces, pod.namespace_labels)
    return in_namespace and (entry.pods is None or selects(entry.pods, pod.labels))


def selects(selector: PodSelector, labels: Labels) -> bool:
    """As Kubernetes means it: an empty selector selects everything."""
    return all(labels.get(key) == value for key, value in selector.labels.items()) and all(
        _holds(requirement, labels) for requirement in selector.requirements
    )


def _holds(requirement: SelectorRequirement, labels: Labels) -> bool:
    value, values = labels.get(requirement.key), requirement.values
    match requirement.operator:
        case "In":
            return value is not None and value in values
        case "NotIn":
            return bool(values) and value not in values  # also without the label
        case "Exists":
            return value is not None and not values
        case "DoesNotExist":
            return value is None and not values
    return False
