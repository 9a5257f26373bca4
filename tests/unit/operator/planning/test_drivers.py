"""A driver that can't run the image is found before any pod starts."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from slipway.operator.planning import Plan, Supply, Unplannable, make_plan
from slipway.operator.planning.candidates import Candidate, is_full
from slipway.operator.planning.drivers import IMAGE_CUDA, OLDEST_DRIVER, check_drivers
from slipway.operator.planning.stock.nodes import cuda_of, driver_of, in_order
from slipway.operator.planning.supply import OnDriver, ProfileSupply
from support.builders.rendering import on_h100, profile
from support.repository import ROOT

CUDA = "slipway-vllm-cuda"
H100 = profile("h100", devicesPerNode=8)


def on(*drivers: str, most: int = 8, free: int | None = 8, **facts: Any) -> ProfileSupply:
    """A node with each."""
    nodes = [OnDriver(driver=each, nodes=1, most_on_a_node=most, most_free_on_a_node=free) for each in drivers]
    count = len(nodes)
    return ProfileSupply(nodes=count, most_on_a_node=most, most_free_on_a_node=free, on_drivers=tuple(nodes), **facts)


@pytest.mark.parametrize(
    ("drivers", "rejected", "warned"),
    [
        ((), "", ""),
        (("580.65.06",), "", ""),
        (("580.126.20", "590.12"), "", ""),
        (("535.183.01",), "its nodes have driver 535.183.01, and the engine's image has CUDA 13", ""),
        (("535.183.01", "570.124.06"), "its nodes have driver 535.183.01 and 570.124.06, and", ""),
        (("570.124.06", "580.65.06"), "", "Some nodes have driver 570.124.06, but the engine's image has CUDA 13"),
        (("470.1", "535.1", "550.1", "570.1", "580.1"), "", "Some nodes have driver 470.1, 535.1 and 2 more"),
    ],
)
def test_cuda_13_needs_driver_580(drivers: tuple[str, ...], rejected: str, warned: str) -> None:
    found = check_drivers(CUDA, on(*drivers))
    assert found.rejected.startswith(rejected)
    assert bool(found.rejected) == bool(rejected)
    assert found.warning.startswith(warned)
    assert bool(found.warning) == bool(warned)


def test_a_new_node_may_bring_a_newer_driver_so_nothing_is_rejected() -> None:
    found = check_drivers(CUDA, on("535.1", can_grow=True))
    assert not found.rejected
    assert found.warning.endswith("a new node may have a newer one.")


@pytest.mark.parametrize("runtime", ["slipway-vllm-rocm", "slipway-llamacpp-cpu", "triton"])
def test_nothing_is_said_of_images_without_cuda_or_from_elsewhere(runtime: str) -> None:
    assert check_drivers(runtime, on("470.1")).rejected == ""


def test_nothing_is_said_where_the_nodes_are_unknown() -> None:
    assert check_drivers(CUDA, None).rejected == ""


def test_the_version_of_cuda_is_that_of_the_image() -> None:
    packages = (ROOT / "runtime-image/requirements/vllm-cuda.txt").read_text()
    found = re.search(r"^nvidia-cuda-runtime==(\d+)\.", packages, re.MULTILINE)
    assert found
    assert int(found[1]) == IMAGE_CUDA[CUDA]
    assert IMAGE_CUDA[CUDA] in OLDEST_DRIVER


# --- what follows -----------------------------------------------------------------------------------------------------

OLD_ONES = (
    {"nvidia.com/cuda.driver-version.major": "535"},
    {"nvidia.com/cuda.driver-version.major": "570"},
    {"nvidia.com/cuda.driver.major": "535"},
    {"nvidia.com/cuda.driver.major": "570"},
)


def planned(supply: ProfileSupply, **spec: Any) -> Plan | Unplannable:
    return make_plan(on_h100(**spec).spec, [H100], name="llama", supply=Supply({"h100": supply}))


def made(supply: ProfileSupply, **spec: Any) -> Plan:
    found = planned(supply, **spec)
    assert isinstance(found, Plan), found
    return found


@pytest.mark.parametrize("facts", [{}, {"can_grow": True}])
def test_nodes_whose_driver_is_too_old_are_never_used(facts: dict[str, Any]) -> None:
    drivers = ("535.1", "535.2", "570.1") if facts else ("535.1", "535.2", "570.1", "580.1")
    assert made(on(*drivers, **facts)).excluded_nodes[-4:] == OLD_ONES


def test_nodes_of_unknown_drivers_are_used() -> None:
    found = made(on("", "535.1"))
    assert found.excluded_nodes[-1] == {"nvidia.com/cuda.driver.major": "535"}
    assert "Some nodes have driver 535.1" in found.warnings[0]


@pytest.mark.parametrize("drivers", [("580.1",), ("",)])
def test_without_an_older_driver_none_is_excluded(drivers: tuple[str, ...]) -> None:
    assert not [each for each in made(on(*drivers)).excluded_nodes if "driver" in str(each)]


def test_devices_of_nodes_that_are_never_used_are_not_free() -> None:
    mixed = on("535.1", most=8)
    few = OnDriver(driver="580.1", nodes=1, most_on_a_node=2, most_free_on_a_node=1)
    mixed = replace(mixed, nodes=2, on_drivers=(*mixed.on_drivers, few))
    refused = planned(mixed, engine={"parallelism": {"tensor": 4}})
    assert isinstance(refused, Unplannable)
    assert "a replica wants 4 devices, and no node has more than 2" in refused.message
    candidate, spec = Candidate(H100, 2, 1), on_h100(engine={"parallelism": {"tensor": 2}}).spec
    assert is_full(spec, candidate, Supply({"h100": mixed}))
    assert not is_full(spec, candidate, Supply({"h100": on("580.1")}))


# --- labels ----------------------------------------------------------------------------------------------------------

OLD = {"nvidia.com/cuda.driver.major": "535", "nvidia.com/cuda.driver.minor": "183", "nvidia.com/cuda.driver.rev": "01"}
NEW = {
    "nvidia.com/cuda.driver-version.major": "580",
    "nvidia.com/cuda.driver-version.minor": "65",
    "nvidia.com/cuda.driver-version.revision": "06",
}


@pytest.mark.parametrize(
    ("labels", "version"),
    [
        ({}, ""),
        (OLD, "535.183.01"),
        (NEW, "580.65.06"),
        (OLD | NEW, "580.65.06"),
        (NEW | {"nvidia.com/cuda.driver-version.full": "580.65.06"}, "580.65.06"),
        ({"nvidia.com/cuda.driver.major": "535", "nvidia.com/cuda.driver.rev": ""}, "535"),
        ({"nvidia.com/cuda.driver.major": "new"}, ""),
        ({"amd.com/gpu.driver-version": "6.12.12"}, "6.12.12"),
    ],
)
def test_the_driver_is_read_from_labels_of_all_ages(labels: dict[str, str], version: str) -> None:
    assert driver_of(labels) == version


def test_the_version_of_cuda_is_read_from_labels_of_all_ages() -> None:
    assert cuda_of({"nvidia.com/cuda.runtime.major": "12", "nvidia.com/cuda.runtime.minor": "4"}) == "12.4"
    assert cuda_of({"nvidia.com/cuda.runtime-version.full": "13.0"}) == "13.0"


def test_versions_are_ordered_as_numbers() -> None:
    assert in_order(["580.9.1", "", "580.126.20", "99", "580.9.1"]) == ("99", "580.9.1", "580.126.20")
