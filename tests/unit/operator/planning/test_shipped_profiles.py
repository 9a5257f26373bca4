"""The AcceleratorProfiles of the chart: their numbers agree with each other, and no node belongs to two of them."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations

import pytest
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.units import amount
from slipway.models.facts import Evidence
from slipway.operator.planning.device_memory import seen_by_engine
from support.builders.rendering import profile, shipped_profiles
from support.repository import ACCELERATORS, ROOT

PROFILES = shipped_profiles()
BY_NAME = {each.metadata.name: each for each in PROFILES}
NVIDIA = [each for each in PROFILES if each.spec.vendor == "NVIDIA"]
MIG = [each for each in NVIDIA if "-mig-" in each.metadata.name]
PAGE = (ROOT / "docs/accelerators.md").read_text()

each_profile = pytest.mark.parametrize("it", PROFILES, ids=list(BY_NAME))
each_nvidia = pytest.mark.parametrize("it", NVIDIA, ids=[each.metadata.name for each in NVIDIA])
each_slice = pytest.mark.parametrize("it", MIG, ids=[each.metadata.name for each in MIG])


def test_each_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(each.metadata.name for each in PROFILES).items() if count > 1] == []


def test_the_accelerators_of_the_design_are_there() -> None:
    wanted = "t4 l4 a10 a10g a100-40gb a100-80gb l40s h100-80gb h200-141gb b200-180gb mi300x mi325x gaudi2 gaudi3"
    wanted += " rtx-4060 rtx-4070 rtx-4080 rtx-4090 rtx-5070 rtx-5080 rtx-5090 tpu-v5e tpu-v6e spyre cpu"
    assert set(wanted.split()) <= BY_NAME.keys()


def test_no_node_belongs_to_two_profiles() -> None:
    """With one resource: as soon as a node had all labels of one set, it would have all of a subset."""
    both = [
        (one.metadata.name, other.metadata.name)
        for one, other in combinations([each for each in PROFILES if each.spec.vendor != "CPU"], 2)
        if one.spec.resource == other.spec.resource
        for first in one.spec.label_sets
        for second in other.spec.label_sets
        if first.items() <= second.items() or second.items() <= first.items()
    ]
    assert both == []


@each_profile
def test_it_is_recognised_by_labels_unless_it_is_any_cpu(it: AcceleratorProfile) -> None:
    assert it.spec.label_sets or it.spec.vendor == "CPU"


@each_profile
def test_it_lists_a_feature_for_each_number_format_that_it_accelerates(it: AcceleratorProfile) -> None:
    assert it.spec.compute.keys() - {"fp16"} <= set(it.spec.features)


@each_profile
def test_compute_and_bandwidth_are_in_proportion(it: AcceleratorProfile) -> None:
    """Operations per byte: a misplaced digit, or sparse numbers of one and dense ones of another, would show."""
    fastest = it.spec.compute.get("bf16") or it.spec.compute.get("fp16")
    if fastest and it.spec.bandwidth:
        assert 35 <= fastest * 1e12 / float(amount(it.spec.bandwidth)) <= 650
    for wide, narrow in (("bf16", "fp8"), ("fp8", "fp4"), ("int8", "int4")):
        if wide in it.spec.compute and narrow in it.spec.compute:
            assert it.spec.compute[narrow] / it.spec.compute[wide] == pytest.approx(2.5, abs=1.6)


@each_nvidia
def test_its_features_are_those_of_its_compute_capability(it: AcceleratorProfile) -> None:
    assert it.spec.compute_capability
    capability = tuple(map(int, it.spec.compute_capability.split(".")))
    features = set(it.spec.features)
    assert ("bf16" in features) == (capability >= (8, 0))
    assert ("fp8" in features) == (capability >= (8, 9))
    assert ("fp4" in features) == (capability >= (10, 0))


@each_nvidia
def test_an_engine_sees_a_little_less_memory_than_nvidia_smi(it: AcceleratorProfile) -> None:
    seen, shown = seen_by_engine(it.spec)[0], int(amount(it.spec.memory))
    assert 0.92 * shown < seen < shown


@pytest.mark.parametrize("it", [each for each in NVIDIA if each.spec.usable_memory], ids=lambda it: it.metadata.name)
def test_where_its_total_is_unknown_the_planner_assumes_no_more_than_there_is(it: AcceleratorProfile) -> None:
    known, evidence = seen_by_engine(it.spec)
    assumed, guessed = seen_by_engine(it.spec.model_copy(update={"usable_memory": None}))
    assert (evidence, guessed) == (Evidence.REPORTED, Evidence.ESTIMATED)
    assert 0.97 * known < assumed <= known


def test_of_a_shared_device_an_engine_sees_all() -> None:
    shared = profile("l4-shared", memory="6Gi", sharedBy=4).spec
    assert seen_by_engine(shared)[0] == int(24 * 2**30 * 0.995) - 2**29
    assert seen_by_engine(profile("l4-shared", memory="6Gi", sharedBy=4, usableMemory="22Gi").spec)[0] == 22 * 2**30


# --- MIG -------------------------------------------------------------------------------------------------------------


def whole(it: AcceleratorProfile) -> AcceleratorProfile:
    return BY_NAME[it.metadata.name.partition("-mig-")[0]]


def slices(it: AcceleratorProfile) -> tuple[int, int]:
    """Of the seven of compute, and the gigabytes in its name."""
    found = re.search(r"-mig-(\d)g\.(\d+)gb$", it.metadata.name)
    assert found
    return int(found[1]), int(found[2])


MOST_SLICES = {1: 7, 2: 3, 3: 2}


@each_slice
def test_as_many_slices_as_fit_have_no_more_than_the_gpu(it: AcceleratorProfile) -> None:
    compute, _ = slices(it)
    gpu = whole(it).spec
    count = MOST_SLICES[compute]
    assert count * amount(it.spec.memory) <= amount(gpu.memory)
    assert it.spec.bandwidth
    assert gpu.bandwidth
    assert count * float(amount(it.spec.bandwidth)) <= 1.001 * float(amount(gpu.bandwidth))  # they are rounded
    assert all(count * it.spec.compute[dtype] <= gpu.compute[dtype] for dtype in it.spec.compute)


@each_slice
def test_a_slice_is_named_by_its_memory_and_is_what_the_gpu_is(it: AcceleratorProfile) -> None:
    compute, gigabytes = slices(it)
    assert it.spec.resource
    assert it.spec.resource.name == f"nvidia.com/mig-{compute}g.{gigabytes}gb"
    assert 0.9 * gigabytes < float(amount(it.spec.memory)) / 2**30 <= gigabytes
    assert it.spec.compute_capability == whole(it).spec.compute_capability
    assert it.spec.devices_per_node == 1


# --- the page --------------------------------------------------------------------------------------------------------


@each_profile
def test_the_page_names_the_source_of_its_numbers(it: AcceleratorProfile) -> None:
    assert f"| `{it.metadata.name}` |" in PAGE


def test_each_file_says_what_its_numbers_are() -> None:
    assert all(path.read_text().startswith("# ") for path in ACCELERATORS.glob("*.yaml"))
