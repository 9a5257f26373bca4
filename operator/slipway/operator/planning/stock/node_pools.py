"""Whether an autoscaler could bring a node of a profile: Karpenter's NodePools, as far as their requirements say. Pure.

A NodePool brings a profile's nodes if its labels and requirements alone decide that: each label of one of the profile's
sets must be among its labels, or among the values of a requirement. What an instance type would add to that, such as
its GPU, is known to Karpenter only; so nothing is concluded from a NodePool that requires nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slipway.api.acceleratorprofile import AcceleratorProfileSpec
from slipway.api.kubernetes import Toleration
from slipway.objects.kinds import Object
from slipway.operator.planning.spot import KARPENTERS
from slipway.operator.planning.stock.cluster import NodePool, Requirement
from slipway.operator.planning.stock.nodes import barring_taints, listed, mapping, quantities, tolerates

SPOT = "spot"  # of Karpenter's capacity types
MOST_REQUIREMENTS = 100
DECLARED = "the profile is marked as growable"

Growth = tuple[bool, str, tuple[str, ...]]
"""Whether it can grow, by what, and sentences on why NodePools that match can't."""


def pool_of(found: Object) -> NodePool:
    """A NodePool of karpenter.sh/v1, of any form."""
    spec, status = mapping(found.get("spec")), mapping(found.get("status"))
    template = mapping(spec.get("template"))
    of_nodes = mapping(template.get("spec"))
    labels = mapping(mapping(template.get("metadata")).get("labels"))
    conditions = (mapping(each) for each in listed(status.get("conditions")))
    return NodePool(
        name=str(mapping(found.get("metadata")).get("name") or ""),
        labels={str(key): str(value) for key, value in labels.items()},
        requirements=tuple(_requirement(each) for each in listed(of_nodes.get("requirements"))[:MOST_REQUIREMENTS]),
        taints=barring_taints(of_nodes.get("taints")),
        limits=_limits(spec.get("limits")),
        in_use=quantities(status.get("resources")),
        ready=not any(each.get("type") == "Ready" and each.get("status") == "False" for each in conditions),
    )


def _requirement(raw: object) -> Requirement:
    read = mapping(raw)
    return Requirement(
        key=str(read.get("key") or ""),
        operator=str(read.get("operator") or ""),
        values=tuple(str(each) for each in listed(read.get("values"))[:MOST_REQUIREMENTS]),
    )


def _limits(limits: object) -> dict[str, int]:
    """With those of 0, which are the way to close a NodePool."""
    return {str(name): 0 for name in mapping(limits)} | quantities(limits)


def growth_of(
    spec: AcceleratorProfileSpec, tolerations: Sequence[Toleration], pools: Sequence[NodePool], *, on_spot: bool
) -> Growth:
    """By what more nodes of the profile would come: the first NodePool in the alphabet, or the profile's own word,
    which is about nodes of both kinds."""
    why_not: list[str] = []
    for pool in sorted(pools, key=lambda each: each.name):
        brings = _brings_spot(pool, spec) if on_spot else _brings_regular(pool)
        if not brings or not any(_decides(pool, labels) for labels in spec.label_sets):
            continue
        if not (objection := _objection(pool, spec, tolerations)):
            return True, f"NodePool {pool.name}", ()
        why_not.append(f"NodePool {pool.name} can't add one: {objection}.")
    return spec.growable, DECLARED if spec.growable else "", tuple(why_not)


def _brings_spot(pool: NodePool, spec: AcceleratorProfileSpec) -> bool:
    """Karpenter brings regular nodes where nothing is said."""
    own = spec.spot.node_labels if spec.spot else {}
    return bool(own and _decides(pool, own)) or _decides_label(pool, KARPENTERS, SPOT)


def _brings_regular(pool: NodePool) -> bool:
    """A NodePool for spot nodes alone doesn't."""
    kinds = [each.values for each in pool.requirements if each.key == KARPENTERS and each.operator == "In"]
    return pool.labels.get(KARPENTERS) != SPOT and not any(set(values) == {SPOT} for values in kinds)


def _decides(pool: NodePool, labels: Mapping[str, str]) -> bool:
    return all(_decides_label(pool, key, value) for key, value in labels.items())


def _decides_label(pool: NodePool, key: str, value: str) -> bool:
    if key in pool.labels:
        return pool.labels[key] == value
    wanted = [each for each in pool.requirements if each.key == key]
    return any(each.operator == "In" for each in wanted) and all(_admits(each, value) for each in wanted)


def _admits(requirement: Requirement, value: str) -> bool:
    values = requirement.values
    match requirement.operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return True
        case "Gt" | "Lt" | "Gte" | "Lte":
            return _compares(requirement.operator, value, values)
        case _:
            return False


def _compares(operator: str, value: str, bounds: Sequence[str]) -> bool:
    if len(bounds) != 1 or not (value.isdecimal() and bounds[0].isdecimal()) or len(value + bounds[0]) > 36:
        return False
    number, bound = int(value), int(bounds[0])
    return {"Gt": number > bound, "Lt": number < bound, "Gte": number >= bound, "Lte": number <= bound}[operator]


def _objection(pool: NodePool, spec: AcceleratorProfileSpec, tolerations: Sequence[Toleration]) -> str:
    """Half a sentence; empty if it could bring a node."""
    if not pool.ready:
        return "it is not ready"
    if taint := next((each for each in pool.taints if not tolerates(tolerations, each)), None):
        return f"its nodes have the taint {taint}, which the profile doesn't tolerate"
    wanted = {spec.resource.name: spec.resource.count} if spec.resource and spec.vendor != "CPU" else {}
    for resource, limit in sorted(pool.limits.items()):
        if limit - pool.in_use.get(resource, 0) < wanted.get(resource, 1):
            return f"its limit of {resource} is reached"
    return ""
