"""What Karpenter could bring, as far as the requirements of a NodePool decide it."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.operator.planning.stock import Cluster, pool_of, supply_of
from slipway.operator.planning.supply import ProfileSupply
from support.builders.nodes import node_pool, requires
from support.builders.objects import Object
from support.builders.rendering import cpu, profile

NAME = "karpenter.k8s.aws/instance-gpu-name"
CAPACITY = "karpenter.sh/capacity-type"
L4 = profile(
    "l4",
    nodeLabels={"nvidia.com/gpu.product": "NVIDIA-L4"},
    otherNodeLabels=[{NAME: "l4"}],
    tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}],
)
NVIDIA_TAINT = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}


def of(*pools: Object, it: Any = L4, spot: Any = "Allowed") -> ProfileSupply:
    found = supply_of([it], Cluster(nodes=[], pools=[pool_of(each) for each in pools])).of(it.metadata.name, spot)
    assert found
    return found


@pytest.mark.parametrize(
    ("pool", "grows"),
    [
        (node_pool("p", requires(NAME, "l4")), True),
        (node_pool("p", requires(NAME, "t4", "l4"), taints=[NVIDIA_TAINT]), True),
        (node_pool("p", labels={NAME: "l4"}), True),
        (node_pool("p", labels={"nvidia.com/gpu.product": "NVIDIA-L4"}), True),
        (node_pool("p", requires(NAME, "t4")), False),
        (node_pool("p"), False),
        (node_pool("p", requires(NAME, operator="Exists")), False),
        (node_pool("p", requires(NAME, "t4", operator="NotIn")), False),
        (node_pool("p", requires(NAME, "l4", "t4"), requires(NAME, "l4", operator="NotIn")), False),
        (node_pool("p", requires(NAME, "l4", "t4"), requires(NAME, "t4", operator="NotIn")), True),
        (node_pool("p", labels={NAME: "t4"}), False),
        (node_pool("p", requires(NAME, "l4"), conditions=[{"type": "Ready", "status": "False"}]), False),
        (node_pool("p", requires(NAME, "l4"), limits={"nvidia.com/gpu": 8}, resources={"nvidia.com/gpu": "7"}), True),
        (node_pool("p", requires(NAME, "l4"), limits={"nvidia.com/gpu": 8}, resources={"nvidia.com/gpu": "8"}), False),
        (node_pool("p", requires(NAME, "l4"), limits={"cpu": "0"}), False),
        (node_pool("p", requires(NAME, "l4"), limits={"cpu": "1k"}, resources={"cpu": "999500m"}), True),
        (node_pool("p", requires(NAME, "l4"), taints=[{"key": "team", "effect": "NoSchedule"}]), False),
        (node_pool("p", requires(NAME, "l4"), taints=[{"key": "team", "effect": "PreferNoSchedule"}]), True),
    ],
)
def test_a_node_pool_brings_what_its_requirements_decide(pool: Object, grows: bool) -> None:
    assert of(pool).can_grow == grows


def test_it_is_said_what_would_bring_a_node() -> None:
    assert of(node_pool("b", requires(NAME, "l4")), node_pool("a", requires(NAME, "t4"))).growth == "NodePool b"


def test_it_is_said_why_a_node_pool_that_matches_can_not() -> None:
    found = of(node_pool("p", requires(NAME, "l4"), limits={"nvidia.com/gpu": 0}))
    assert found.remarks == ("NodePool p can't add one: its limit of nvidia.com/gpu is reached.",)


def test_numbers_are_compared_where_a_requirement_has_bounds() -> None:
    big = profile("big", nodeLabels={"karpenter.k8s.aws/instance-gpu-count": "8"})
    count = "karpenter.k8s.aws/instance-gpu-count"
    within = node_pool("p", requires(count, "8", "4"), requires(count, "4", operator="Gt"))
    beyond = node_pool("p", requires(count, "8", "4"), requires(count, "8", operator="Gt"))
    assert of(within, it=big).can_grow
    assert not of(beyond, it=big).can_grow


def test_a_profile_can_say_itself_that_it_grows() -> None:
    found = of(it=profile("gpu", growable=True))
    assert (found.can_grow, found.growth) == (True, "the profile is marked as growable")


@pytest.mark.parametrize("spot", ["Never", "Allowed", "Required"])
@pytest.mark.parametrize("own", [{}, {"spot": {"nodeLabels": {CAPACITY: "spot"}}}])
def test_what_a_profile_says_itself_is_about_regular_and_spot_nodes(spot: str, own: Any) -> None:
    found = of(it=profile("gpu", growable=True, **own), spot=spot)
    assert (found.can_grow, found.growth) == (True, "the profile is marked as growable")


def test_nothing_is_concluded_for_a_profile_that_any_node_has() -> None:
    assert not of(node_pool("p"), it=cpu()).can_grow


SPOT = profile("l4", nodeLabels={NAME: "l4"}, spot={"nodeLabels": {CAPACITY: "spot"}})


@pytest.mark.parametrize(
    ("capacity", "never", "required"),
    [
        (requires(CAPACITY, "spot"), False, True),
        (requires(CAPACITY, "on-demand"), True, False),
        (requires(CAPACITY, "on-demand", "spot"), True, True),
    ],
)
def test_a_node_pool_for_spot_nodes_brings_no_others(capacity: Object, never: bool, required: bool) -> None:
    pool = node_pool("p", requires(NAME, "l4"), capacity)
    assert of(pool, it=SPOT, spot="Never").can_grow == never
    assert of(pool, it=SPOT, spot="Required").can_grow == required
    assert of(pool, it=SPOT).can_grow
