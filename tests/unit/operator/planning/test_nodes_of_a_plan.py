"""Which profiles the nodes of the cluster rule out, and which they don't."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.operator.planning import Plan, Supply, Unplannable, make_plan
from slipway.operator.planning.supply import ProfileSupply
from support.builders.rendering import on_h100, profile

SPOT_TERMS = {"nodeLabels": {"spot": "yes"}, "tolerations": [{"key": "spot", "operator": "Exists"}]}
H100 = profile("h100", spot=SPOT_TERMS)


def planned(supply: Supply, **spec: Any) -> Plan | Unplannable:
    return make_plan(on_h100(**spec).spec, [H100], name="llama", supply=supply)


def with_nodes(**numbers: Any) -> Supply:
    return Supply(profiles={"h100": ProfileSupply(**numbers)})


@pytest.mark.parametrize(
    "supply",
    [
        Supply(),
        with_nodes(nodes=1, devices=8, most_on_a_node=8),
        with_nodes(can_grow=True, growth="NodePool gpu"),
        with_nodes(without_devices=1),
    ],
    ids=["unknown", "a node", "a node could come", "a node whose device plugin restarts"],
)
def test_a_profile_with_nodes_or_a_prospect_of_them_is_taken(supply: Supply) -> None:
    assert isinstance(planned(supply), Plan)


def test_a_profile_without_nodes_is_not_taken() -> None:
    answer = planned(with_nodes())
    assert isinstance(answer, Unplannable)
    assert "h100: the cluster has no node with it, and nothing that would add one" in answer.message


def test_a_taint_is_named_unless_the_spec_tolerates_taints_of_its_own() -> None:
    tainted = with_nodes(tainted=2, taints=("team=research:NoSchedule",))
    answer = planned(tainted)
    assert isinstance(answer, Unplannable)
    assert "its nodes have a taint that it doesn't tolerate (team=research:NoSchedule)" in answer.message
    own = {"tolerations": [{"key": "team", "operator": "Exists"}]}
    assert isinstance(planned(tainted, pod=own), Plan)


def test_spot_nodes_are_only_for_those_who_allow_them() -> None:
    only_spot = Supply(
        profiles={"h100": ProfileSupply(nodes=1, most_on_a_node=8, spot_nodes=1)},
        regular={"h100": ProfileSupply()},
        spot={"h100": ProfileSupply(nodes=1, most_on_a_node=8, spot_nodes=1)},
    )
    accelerator: dict[str, Any] = {"profiles": ["h100"]}
    assert isinstance(planned(only_spot, accelerator=accelerator), Unplannable)
    for spot in ("Allowed", "Required"):
        assert isinstance(planned(only_spot, accelerator={**accelerator, "spot": spot}), Plan)


def test_without_spot_nodes_none_that_requires_them_is_planned() -> None:
    regular = ProfileSupply(nodes=1, most_on_a_node=8)
    supply = Supply(profiles={"h100": regular}, regular={"h100": regular}, spot={"h100": ProfileSupply()})
    answer = planned(supply, accelerator={"profiles": ["h100"], "spot": "Required"})
    assert isinstance(answer, Unplannable)
    assert "the cluster has no spot node with it" in answer.message
