"""A driver that can't run the image is found before any pod starts."""

from __future__ import annotations

import re

import pytest
from slipway.operator.planning.drivers import IMAGE_CUDA, OLDEST_DRIVER, check_drivers
from slipway.operator.planning.stock.nodes import cuda_of, driver_of, in_order
from slipway.operator.planning.supply import ProfileSupply
from support.repository import ROOT

CUDA = "slipway-vllm-cuda"


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
    found = check_drivers(CUDA, ProfileSupply(nodes=1, drivers=drivers))
    assert found.rejected.startswith(rejected)
    assert bool(found.rejected) == bool(rejected)
    assert found.warning.startswith(warned)
    assert bool(found.warning) == bool(warned)


def test_a_new_node_may_bring_a_newer_driver_so_nothing_is_rejected() -> None:
    found = check_drivers(CUDA, ProfileSupply(nodes=1, drivers=("535.1",), can_grow=True))
    assert not found.rejected
    assert found.warning.endswith("a new node may have a newer one.")


@pytest.mark.parametrize("runtime", ["slipway-vllm-rocm", "slipway-llamacpp-cpu", "triton"])
def test_nothing_is_said_of_images_without_cuda_or_from_elsewhere(runtime: str) -> None:
    assert check_drivers(runtime, ProfileSupply(nodes=1, drivers=("470.1",))).rejected == ""


def test_nothing_is_said_where_the_nodes_are_unknown() -> None:
    assert check_drivers(CUDA, None).rejected == ""


def test_the_version_of_cuda_is_that_of_the_image() -> None:
    packages = (ROOT / "runtime-image/requirements/vllm-cuda.txt").read_text()
    found = re.search(r"^nvidia-cuda-runtime==(\d+)\.", packages, re.MULTILINE)
    assert found
    assert int(found[1]) == IMAGE_CUDA[CUDA]
    assert IMAGE_CUDA[CUDA] in OLDEST_DRIVER


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
