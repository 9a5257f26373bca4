"""Which profile is chosen while nodes are full, missing, or have the model already."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from slipway.operator.planning import Running, Supply
from slipway.operator.planning.memory.settings import GIB
from slipway.operator.planning.supply import ProfileSupply, Room
from support.builders.models import LLAMA_70B
from support.builders.planned import H100, nodes, planned, refused, where
from support.builders.rendering import cpu

# --- what the cluster has --------------------------------------------------------------------------------------------


def test_a_profile_without_nodes_is_not_chosen() -> None:
    plan = planned(supply=nodes(h200=8))
    assert plan.profile == "h200"
    reason = "the cluster has no node with it, and nothing that would add one."
    assert plan.rejected == (f"h100 and l4: for each, {reason}",)


def test_a_profile_whose_nodes_an_autoscaler_adds_counts_as_there() -> None:
    grows = Supply({"l4": ProfileSupply(can_grow=True), "h200": ProfileSupply(nodes=1, devices=8, most_on_a_node=8)})
    assert planned(supply=grows).profile == "l4"


def test_while_all_nodes_of_a_profile_are_full_the_next_one_is_chosen() -> None:
    plan = planned(supply=nodes(l4=0, h100=1))
    assert plan.profile == "h100"
    assert "l4: fits, but no node has 1 free device." in plan.rejected


def rooms(*there: Room) -> Supply:
    """What is free on nodes of CPUs."""
    known = ProfileSupply(nodes=2, devices=2, most_on_a_node=1, free=1, most_free_on_a_node=1, rooms=there)
    return Supply({"cpu": known, "cpu-large": replace(known, rooms=(Room(64_000, 256 * GIB),))})


CPUS = [cpu("cpu", memory="64Gi", costPerHour=0.1), cpu("cpu-large", memory="128Gi", costPerHour=0.2)]
IN_LLAMACPP: dict[str, Any] = {"engine": {"name": "llamacpp"}}


@pytest.mark.parametrize(
    ("room", "chosen"),
    [
        (Room(1000, GIB), "cpu"),
        (Room(900, 64 * GIB), "cpu-large"),
    ],
)
def test_a_profile_of_cpus_that_has_no_room_for_a_replica_is_full(room: Room, chosen: str) -> None:
    """A replica on `cpu` requests 1 CPU of one node; the profile's memory is a limit."""
    plan = planned(profiles=CPUS, supply=rooms(room, Room(100, 512 * GIB)), **IN_LLAMACPP)
    assert plan.profile == chosen
    if chosen == "cpu-large":
        assert "cpu: fits, but no node has enough free CPUs and memory." in plan.rejected


def test_what_the_spec_requests_must_be_free_on_cpus() -> None:
    pod = {"resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "40Gi"}}}
    assert planned(profiles=CPUS, supply=rooms(Room(500, 40 * GIB)), pod=pod, **IN_LLAMACPP).profile == "cpu"
    assert planned(profiles=CPUS, supply=rooms(Room(500, 39 * GIB)), pod=pod, **IN_LLAMACPP).profile == "cpu-large"
    pod["resources"]["requests"]["cpu"] = "4"
    assert planned(profiles=CPUS, supply=rooms(Room(500, 40 * GIB)), pod=pod, **IN_LLAMACPP).profile == "cpu-large"


def test_a_replica_waits_for_cpus_if_none_are_free_anywhere() -> None:
    supply = Supply({"cpu": ProfileSupply(nodes=1, devices=1, most_on_a_node=1, rooms=())})
    plan = planned(profiles=CPUS[:1], supply=supply, **IN_LLAMACPP)
    assert "No node of cpu has enough free CPUs and memory now, so a replica waits for one." in plan.why


def test_if_every_profile_is_full_the_plan_says_that_a_replica_waits() -> None:
    plan = planned(supply=nodes(l4=0, h100=0))
    assert plan.profile == "l4"
    assert "No node of l4 has 1 free device now, so a replica waits for one." in plan.why


def test_devices_must_be_on_one_node() -> None:
    few = Supply({"h100": ProfileSupply(nodes=4, devices=4, most_on_a_node=1, free=4, most_free_on_a_node=1)})
    made = refused(LLAMA_70B, [H100], supply=few)
    assert "needs" in made.rejected[0]


# --- what runs already -----------------------------------------------------------------------------------------------


def test_a_running_model_stays_although_a_cheaper_profile_appeared() -> None:
    plan = planned(running=Running("h100", 1), supply=nodes(l4=8, h100=0))
    assert plan.profile == "h100"
    assert plan.why[0] == "h100: the model runs there, and fits."
    assert plan.why[1].startswith("l4 would be chosen now by policy Cheapest, at 0.70 per hour; a running model")


def test_a_running_model_moves_when_the_spec_no_longer_allows_its_profile() -> None:
    assert planned(running=Running("h100", 1), accelerator={"profiles": ["l4"]}).profile == "l4"


def test_a_running_model_moves_when_it_no_longer_fits() -> None:
    plan = planned(running=Running("l4", 1), engine={"contextLength": 131072})
    assert where(plan) != ("l4", 1)


def test_the_devices_of_its_own_pods_do_not_make_a_profile_full() -> None:
    plan = planned(running=Running("l4", 1), supply=nodes(l4=0, h100=8))
    assert plan.why[0] == "l4: the cheapest of 2 profiles on which the model fits, at 0.70 per hour."
    assert not any("waits for one" in each for each in plan.why)
