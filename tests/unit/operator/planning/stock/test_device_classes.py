"""Devices that are claimed of a DeviceClass are counted by node, as far as its selectors can be read."""

from __future__ import annotations

import pytest
from slipway.operator.planning.stock import Cluster, device_classes, facts_of, supply_of
from slipway.operator.planning.supply import ProfileSupply
from support.builders.nodes import node
from support.builders.objects import Object, manifest
from support.builders.rendering import profile

DRIVER = "gpu.nvidia.com"
IS_NVIDIA = f"device.driver == '{DRIVER}'"


def device_class(*expressions: str, name: str = DRIVER) -> Object:
    selectors = [{"cel": {"expression": each}} for each in expressions]
    return manifest("resource.k8s.io/v1", "DeviceClass", name, spec={"selectors": selectors})


def resource_slice(node_name: str, *devices: Object, driver: str = DRIVER, generation: int = 1) -> Object:
    spec = {
        "driver": driver,
        "nodeName": node_name,
        "pool": {"name": node_name, "generation": generation, "resourceSliceCount": 1},
        "devices": list(devices),
    }
    return manifest("resource.k8s.io/v1", "ResourceSlice", f"{node_name}-{driver}", spec=spec)


def device(name: str, kind: str = "gpu", **fields: Object | list[Object]) -> Object:
    return {"name": name, "attributes": {"type": {"string": kind}}, **fields}


def claim(*taken: tuple[str, str]) -> Object:
    results = [{"driver": DRIVER, "pool": node, "device": name, "request": "gpu"} for node, name in taken]
    return manifest(
        "resource.k8s.io/v1", "ResourceClaim", "c", status={"allocation": {"devices": {"results": results}}}
    )


FOUR = resource_slice("a", *(device(f"gpu-{number}") for number in range(4)))
MIXED = resource_slice("b", device("gpu-0"), device("mig-0", "mig"), device("mig-1", "mig"))


def test_devices_are_counted_by_node_and_those_of_claims_are_not_free() -> None:
    found = device_classes([device_class(IS_NVIDIA)], [FOUR, MIXED], [claim(("a", "gpu-1"), ("b", "mig-0")), claim()])
    assert found.on_nodes == {DRIVER: {"a": 4, "b": 3}}
    assert found.free_on_nodes == {DRIVER: {"a": 3, "b": 2}}
    assert not found.inexact


@pytest.mark.parametrize(
    ("expressions", "counted", "exact"),
    [
        ((IS_NVIDIA,), 3, True),
        ((f'device.driver == "{DRIVER}"',), 3, True),
        (("device.driver == 'gpu.amd.com'",), 0, True),
        ((f"{IS_NVIDIA} && device.attributes['{DRIVER}'].type == 'mig'",), 2, True),
        ((IS_NVIDIA, f"device.attributes['{DRIVER}'].type == 'gpu'"), 1, True),
        ((f"{IS_NVIDIA} && device.attributes['other.com'].type == 'gpu'",), 0, True),
        ((f"{IS_NVIDIA} && device.capacity['{DRIVER}'].memory.compareTo(quantity('40Gi')) > 0",), 3, False),
        ((f"{IS_NVIDIA} || device.driver == 'gpu.amd.com'",), 3, False),
        (("x" * 10_000,), 3, False),
        ((), 3, True),
    ],
)
def test_simple_selectors_are_followed_and_of_others_too_many_are_counted(
    expressions: tuple[str, ...], counted: int, exact: bool
) -> None:
    found = device_classes([device_class(*expressions)], [MIXED], None)
    assert found.on_nodes[DRIVER].get("b", 0) == counted
    assert (DRIVER not in found.inexact) == exact
    assert found.free_on_nodes is None


def test_outdated_slices_of_a_pool_do_not_count() -> None:
    newer = resource_slice("a", device("gpu-0"), generation=2)
    assert device_classes([device_class(IS_NVIDIA)], [FOUR, newer], []).on_nodes[DRIVER] == {"a": 1}


def test_devices_that_share_their_parts_are_counted_and_called_inexact() -> None:
    part = device("mig-0", consumesCounters=[{"counterSet": "gpu-0"}])
    assert device_classes([device_class(IS_NVIDIA)], [resource_slice("a", part)], []).inexact == {DRIVER}


# --- a profile with a device class -----------------------------------------------------------------------------------

GPU = profile("gpu", deviceClass=DRIVER, nodeLabels={}, tolerations=[])


def of(*classes: Object) -> ProfileSupply:
    nodes = [facts_of(node("a")), facts_of(node("b")), facts_of(node("c"))]
    there = device_classes(classes, [FOUR, MIXED], [claim(("a", "gpu-1"))])
    found = supply_of([GPU], Cluster(nodes=nodes, device_classes=there)).of("gpu")
    assert found
    return found


def test_a_profile_has_the_nodes_on_which_its_class_has_devices() -> None:
    found = of(device_class(IS_NVIDIA))
    assert (found.nodes, found.devices, found.free, found.most_on_a_node, found.most_free_on_a_node) == (2, 7, 6, 4, 3)


def test_it_is_said_that_the_selectors_of_a_class_are_not_evaluated() -> None:
    [remark] = of(device_class(f"{IS_NVIDIA} && true")).remarks
    assert remark.startswith("The selectors of DeviceClass gpu.nvidia.com are more than Slipway evaluates")


def test_without_its_class_a_profile_has_nothing() -> None:
    assert of(device_class(IS_NVIDIA, name="other")).nodes == 0
