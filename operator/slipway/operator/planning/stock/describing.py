"""The status of an AcceleratorProfile: what the cluster has of it, in numbers and in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from slipway.api.acceleratorprofile import AcceleratorProfileSpec
from slipway.objects.kinds import Object
from slipway.operator.planning.engines import CPU
from slipway.operator.planning.supply import ProfileSupply

MOST_DRIVERS = 16
LONGEST_GROWTH, LONGEST_MESSAGE = 512, 2048


def status_of(spec: AcceleratorProfileSpec, supply: ProfileSupply, *, generation: int) -> Object:
    devices = {
        "allocatable": supply.devices,
        "free": supply.free,
        "mostOnANode": supply.most_on_a_node,
        "mostFreeOnANode": supply.most_free_on_a_node,
    }
    return {
        "observedGeneration": generation,
        "nodes": supply.nodes,
        "spotNodes": supply.spot_nodes,
        "devices": {name: count for name, count in devices.items() if count is not None},
        "growable": supply.can_grow,
        "growth": supply.growth[:LONGEST_GROWTH],
        "drivers": list(supply.drivers[:MOST_DRIVERS]),
        "message": " ".join(sentences(spec, supply))[:LONGEST_MESSAGE],
    }


def sentences(spec: AcceleratorProfileSpec, supply: ProfileSupply) -> Iterator[str]:
    yield _what_there_is(spec, supply)
    if supply.nodes:
        yield from _what_is_free(spec, supply)
    if supply.without_devices:
        source = spec.resource.name if spec.resource else f"device of DeviceClass {spec.device_class}"
        yield (
            f"{_nodes(supply.without_devices, 'more has', 'more have')} its labels and no {source}: "
            "check the device plugin or driver there."
        )
    if supply.tainted:
        yield (
            f"{_nodes(supply.tainted, 'more has', 'more have')} a taint that the profile doesn't tolerate "
            f"({', '.join(supply.taints)}): add it to tolerations if models may run there."
        )
    yield from supply.remarks


def _what_there_is(spec: AcceleratorProfileSpec, supply: ProfileSupply) -> str:
    if supply.nodes and spec.vendor == CPU:
        room = _nodes(supply.nodes, "has", "have")
        return f"{room} room for {supply.devices} such replicas, if nothing else runs there."
    if supply.nodes:
        return f"{_nodes(supply.nodes, 'has', 'have')} it, with {_devices(supply.devices)}."
    if supply.can_grow:
        return f"No node has it now; a pod that needs it would bring one: {supply.growth}."
    if not spec.label_sets:
        return "No node has it."
    labels = " or ".join(", ".join(f"{key}={value}" for key, value in each.items()) for each in spec.label_sets[:2])
    more = f" or one of {len(spec.label_sets) - 2} other sets of labels" if len(spec.label_sets) > 2 else ""
    return f"No node has it: none has {labels}{more}."


def _what_is_free(spec: AcceleratorProfileSpec, supply: ProfileSupply) -> Iterator[str]:
    if spec.vendor == CPU:
        if supply.free is not None:
            yield f"There is room for {supply.free} more now, and for {supply.most_free_on_a_node} on one node at most."
    elif supply.free is None:
        yield "How many are free is unknown."
    elif supply.free == 0:
        yield "None is free."
    else:
        yield f"{supply.free} free, at most {supply.most_free_on_a_node} on one node."
    if supply.out_of_use:
        yield f"{_nodes(supply.out_of_use, 'is', 'are')} cordoned or not ready."
    if supply.can_grow:
        yield f"More would come if pods needed them: {supply.growth}."


def _nodes(count: int, one: str, many: str) -> str:
    return f"1 node {one}" if count == 1 else f"{count} nodes {many}"


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"
