"""Which nodes belong to a profile, and what is free on them."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.operator.planning.spot import MARKS
from slipway.operator.planning.stock import Cluster, facts_of, supply_of
from slipway.operator.planning.supply import OnDriver, ProfileSupply, Room, Supply
from support.builders.nodes import labelled, look_alike, node, tainted
from support.builders.objects import Object
from support.builders.rendering import cpu, profile, shipped_profiles

GPU = profile("gpu", nodeLabels={"gpu": "h100"}, tolerations=[{"key": "gpu", "operator": "Exists"}])
H100 = {"gpu": "h100"}
AKS = ("kubernetes.azure.com/scalesetpriority", "spot")
MIXED = "h100:8,2xh100:4,3xl4:4,t4:1,a100-mig-3g.40gb:2,mi300x:8,gaudi3:8"


def supply(nodes: list[Object], *profiles: Any, **cluster: Any) -> Supply:
    facts = [facts_of(each) for each in nodes]
    return supply_of(profiles or (GPU,), Cluster(nodes=facts, **{"used": {each.name: {} for each in facts}, **cluster}))


def of(nodes: list[Object], name: str = "gpu", *profiles: Any, **cluster: Any) -> ProfileSupply:
    found = supply(nodes, *profiles, **cluster).of(name)
    assert found is not None
    return found


def test_a_node_belongs_to_a_profile_by_its_labels_and_its_resource() -> None:
    nodes = [node("a", H100, gpu=4), node("b", H100, gpu=2), node("c", {"gpu": "l4"}, gpu=8), node("d", H100)]
    found = of(nodes)
    assert (found.nodes, found.devices, found.most_on_a_node, found.without_devices) == (2, 6, 4, 1)


def test_a_node_with_all_labels_of_another_set_belongs_to_it_as_well() -> None:
    both = profile("gpu", nodeLabels=H100, otherNodeLabels=[{"cloud": "h100"}, {"type": "p5", "zone": "a"}])
    nodes = [
        node("a", H100, gpu=1),
        node("b", {"cloud": "h100"}, gpu=1),
        node("c", {"type": "p5"}, gpu=1),
        node("d", {"type": "p5", "zone": "a"} | H100, gpu=1),
    ]
    assert of(nodes, "gpu", both).nodes == 3


@pytest.mark.parametrize(
    ("extra", "counted"),
    [
        ({}, 1),
        ({"nvidia.com/gpu.sharing-strategy": "none"}, 1),
        ({"nvidia.com/gpu.sharing-strategy": "time-slicing"}, 0),
        ({"cloud.google.com/gke-gpu-sharing-strategy": "mps"}, 0),
        ({"cloud.google.com/gke-gpu-partition-size": "1g.10gb"}, 0),
        ({"nvidia.com/gpu.slices.gi": "1"}, 0),
        ({"nvidia.com/gpu.product": "H100", "nvidia.com/gpu.sharing-strategy": "mps"}, 1),
    ],
)
def test_labels_of_clouds_do_not_select_gpus_that_are_divided(extra: dict[str, str], counted: int) -> None:
    it = profile("gpu", nodeLabels={"nvidia.com/gpu.product": "H100"}, otherNodeLabels=[{"cloud": "h100"}])
    assert of([node("a", {"cloud": "h100", **extra}, gpu=8)], "gpu", it).nodes == counted


def test_a_node_whose_gpus_are_all_divided_into_mig_instances_does_not_wait_for_its_device_plugin() -> None:
    found = supply(look_alike("a100-mig-3g.40gb:2"), *shipped_profiles())
    whole, instances = found.of("a100-80gb"), found.of("a100-80gb-mig-3g.40gb")
    assert whole
    assert instances
    assert (whole.nodes, whole.without_devices) == (0, 0)
    assert (instances.nodes, instances.devices) == (1, 2)


def test_the_devices_of_pods_are_not_free() -> None:
    nodes = [node("a", H100, gpu=4), node("b", H100, gpu=4)]
    found = of(nodes, used={"a": {"nvidia.com/gpu": 3}, "b": {"nvidia.com/gpu": 2, "cpu": 7000}})
    assert (found.free, found.most_free_on_a_node) == (3, 2)


def test_what_is_free_is_unknown_where_no_pods_are_seen() -> None:
    found = of([node("a", H100, gpu=4), node("b", H100, gpu=4)], used={})
    assert (found.devices, found.free, found.most_free_on_a_node) == (8, None, None)


def test_a_node_whose_pods_can_not_be_read_has_none_free_and_hides_nothing_of_the_others() -> None:
    found = of([node("a", H100, gpu=4), node("b", H100, gpu=4)], used={"a": {}})
    assert (found.devices, found.free, found.most_free_on_a_node) == (8, 4, 4)


@pytest.mark.parametrize(
    "key",
    [
        "karpenter.sh/disrupted",
        "node.cilium.io/agent-not-ready",
        "ToBeDeletedByClusterAutoscaler",
        "DeletionCandidateOfClusterAutoscaler",
        "node.kubernetes.io/not-ready",
    ],
)
def test_a_taint_of_an_autoscaler_or_of_a_starting_node_closes_it_for_a_while_alone(key: str) -> None:
    found = of([tainted(node("a", H100, gpu=4), key)])
    assert (found.nodes, found.tainted, found.out_of_use, found.free) == (1, 0, 1, 0)


def test_a_node_that_promises_more_than_it_has_left_is_full() -> None:
    assert of([node("a", H100, gpu=1)], used={"a": {"nvidia.com/gpu": 5}}).free == 0


CLOSED = {
    "not ready": node("a", H100, ready=False, gpu=4),
    "cordoned": node("a", H100, gpu=4) | {"spec": {"unschedulable": True}},
    "cordoned, with its taint": tainted(
        node("a", H100, gpu=4) | {"spec": {"unschedulable": True}}, "node.kubernetes.io/unschedulable"
    ),
    "short of disk": tainted(node("a", H100, gpu=4), "node.kubernetes.io/disk-pressure"),
}


@pytest.mark.parametrize("closed", CLOSED.values(), ids=list(CLOSED))
def test_nothing_is_free_on_a_node_that_is_cordoned_or_not_ready_but_it_comes_back(closed: Object) -> None:
    found = of([closed])
    assert (found.nodes, found.devices, found.out_of_use, found.free) == (1, 4, 1, 0)


def test_a_node_with_a_taint_that_the_profile_does_not_tolerate_is_not_for_it() -> None:
    nodes = [node("a", H100, gpu=1), tainted(node("b", H100, gpu=8), "team", "research")]
    found = of(nodes)
    assert (found.nodes, found.tainted, found.taints) == (1, 1, ("team=research:NoSchedule",))


def test_a_taint_that_is_only_a_preference_keeps_nothing_away() -> None:
    assert of([tainted(node("a", H100, gpu=1), "old", effect="PreferNoSchedule")]).nodes == 1


SPOT = profile(
    "gpu", nodeLabels=H100, spot={"nodeLabels": {"spot": "yes"}, "tolerations": [{"key": "spot", "operator": "Exists"}]}
)


def test_spot_nodes_are_counted_for_those_who_allow_them() -> None:
    spot = tainted(labelled(node("b", H100, gpu=8), spot="yes"), "spot")
    found = supply([node("a", H100, gpu=2), spot], SPOT)
    never, allowed, required = (found.of("gpu", each) for each in ("Never", "Allowed", "Required"))
    assert never
    assert allowed
    assert required
    assert (never.nodes, never.free, never.spot_nodes) == (1, 2, 0)
    assert (allowed.nodes, allowed.free, allowed.spot_nodes, allowed.most_free_on_a_node) == (2, 10, 1, 8)
    assert (required.nodes, required.free, required.spot_nodes) == (1, 8, 1)


@pytest.mark.parametrize(("label", "value"), MARKS)
def test_spot_nodes_of_clouds_are_recognised_for_every_profile(label: str, value: str) -> None:
    """AKS taints its spot nodes with their label."""
    on_spot = tainted(node("b", {**H100, label: value}, gpu=8), *AKS)
    found = supply([node("a", H100, gpu=2), on_spot])
    counts = [found.of("gpu", each) for each in ("Never", "Allowed", "Required")]
    assert [(each.nodes, each.free, each.spot_nodes) for each in counts if each] == [(1, 2, 0), (2, 10, 1), (1, 8, 1)]


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("karpenter.sh/capacity-type", "on-demand"),
        ("eks.amazonaws.com/capacityType", "ON_DEMAND"),
        ("cloud.google.com/gke-provisioning", "standard"),
        ("cloud.google.com/gke-spot", "false"),
        ("kubernetes.azure.com/scalesetpriority", "regular"),
        ("spot", "true"),
    ],
)
def test_other_nodes_are_regular(label: str, value: str) -> None:
    found = supply([node("a", {**H100, label: value}, gpu=2)])
    required = found.of("gpu", "Required")
    assert required
    assert (required.nodes, required.devices, required.can_grow) == (0, 0, False)
    assert found.of("gpu", "Never") == found.of("gpu")


def test_what_is_free_is_known_by_the_version_of_the_driver() -> None:
    labels = [{**H100, "nvidia.com/cuda.driver.major": version} for version in ("535", "580", "580")]
    nodes = [node(f"{place}", each, gpu=4 + place) for place, each in enumerate([*labels, H100])]
    used = {"0": {}, "1": {"nvidia.com/gpu": 5}, "2": {"nvidia.com/gpu": 3}, "3": {}}
    assert of(nodes, used=used).on_drivers == (
        OnDriver(driver="", nodes=1, most_on_a_node=7, most_free_on_a_node=7),
        OnDriver(driver="535", nodes=1, most_on_a_node=4, most_free_on_a_node=4),
        OnDriver(driver="580", nodes=2, most_on_a_node=6, most_free_on_a_node=3),
    )
    assert of(nodes).drivers == ("535", "580")
    assert {each.most_free_on_a_node for each in of(nodes, used={}).on_drivers} == {None}


GIB = 1 << 30


def test_of_a_cpu_profile_it_is_counted_how_many_replicas_fit_and_for_how_many_there_is_room() -> None:
    """8 CPUs and 32 GiB hold two replicas of one CPU and 16 GiB."""
    used = {"a": {"cpu": 7500, "memory": GIB}, "b": {"cpu": 1000, "memory": 10 * GIB}}
    found = of([node("a"), node("b")], "cpu", cpu(), used=used, counts_cpus=True)
    assert (found.nodes, found.devices, found.without_devices) == (2, 4, 0)
    assert (found.free, found.most_free_on_a_node) == (1, 1)
    assert found.rooms == (Room(7000, 22 * GIB), Room(500, 31 * GIB))


def test_a_room_that_another_one_exceeds_in_both_is_left_out() -> None:
    used = {"a": {"cpu": 1000}, "b": {"cpu": 2000, "memory": GIB}, "c": {"memory": 2 * GIB}}
    found = of([node(name) for name in used], "cpu", cpu(), used=used, counts_cpus=True)
    assert found.rooms == (Room(8000, 30 * GIB), Room(7000, 32 * GIB))


def test_small_changes_of_what_pods_use_leave_the_rooms_as_they_are() -> None:
    rooms = [
        of([node("a")], "cpu", cpu(), used={"a": {"cpu": 10 + more, "memory": 1000 + more}}, counts_cpus=True).rooms
        for more in (0, 80)
    ]
    assert rooms[0] == rooms[1] == (Room(7900, 32 * GIB - 256 * 2**20),)


@pytest.mark.parametrize(("counts", "free", "rooms"), [(False, None, None), (True, 2, (Room(8000, 32 * GIB),))])
def test_a_node_of_cpus_that_is_not_read_is_unknown_or_full(counts: bool, free: int | None, rooms: object) -> None:
    """Unknown where such nodes aren't read at all, and full where they are."""
    found = of([node("a"), node("b")], "cpu", cpu(), used={"a": {}}, counts_cpus=counts)
    assert (found.free, found.rooms and found.rooms[:1]) == (free, rooms)
    nothing_seen = of([node("a")], "cpu", cpu(), used={}, counts_cpus=counts)
    assert (nothing_seen.free, nothing_seen.rooms) == (None, None)


def test_there_is_no_room_on_a_node_that_is_not_in_use() -> None:
    found = of([node("a", ready=False)], "cpu", cpu(), used={"a": {}}, counts_cpus=True)
    assert (found.free, found.rooms) == (0, ())


def test_a_profile_that_no_node_has_is_empty_and_one_that_is_unknown_too() -> None:
    assert of([node("a", gpu=1)]) == ProfileSupply(free=0, most_free_on_a_node=0)
    assert supply([]).of("other") == ProfileSupply()


def test_without_rights_to_see_nodes_everything_is_unknown() -> None:
    assert Supply().of("gpu") is None


def test_the_shipped_profiles_share_a_mixed_cluster_among_them() -> None:
    found = supply(look_alike(MIXED), *shipped_profiles())
    assert found.profiles
    counted = {name: (each.nodes, each.devices) for name, each in found.profiles.items() if each.nodes}
    assert counted == {
        "h100-80gb": (3, 16),
        "l4": (3, 12),
        "t4": (1, 1),
        "a100-80gb-mig-3g.40gb": (1, 2),
        "mi300x": (1, 8),
        "gaudi3": (1, 8),
    }


def test_labels_say_the_driver_the_memory_and_what_the_host_has() -> None:
    found = supply(look_alike("h100:8,a100-mig-3g.40gb:2,mi300x:8"), *shipped_profiles())
    h100, mig, mi300x = (found.of(each) for each in ("h100-80gb", "a100-80gb-mig-3g.40gb", "mi300x"))
    assert h100
    assert mig
    assert mi300x
    assert (h100.drivers, h100.cuda, h100.memory) == (("580.126.20",), ("13.0",), 81559 * 2**20)
    assert mig.memory == 40192 * 2**20
    assert mi300x.memory == 192 * 2**30
    assert h100.memory_of_node == 1872 * 1024 * 95 // 100 * 2**20
