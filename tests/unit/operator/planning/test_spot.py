"""Spot nodes, which a provider can take back at any time: only models whose spec allows them run there."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.api.kubernetes import Toleration
from slipway.operator.planning import Plan, Supply, Unplannable, make_plan
from slipway.operator.planning.spot import MARKS, TOLERATIONS, marked, with_marks
from slipway.operator.planning.stock.nodes import Taint, tolerates
from slipway.operator.planning.supply import ProfileSupply
from support.builders.rendering import GPU_TAINT, cpu, deployment, on_h100, plan, profile, shipped_profiles

PLAIN = profile("h100")
OWN = profile(
    "h100", spot={"nodeLabels": {"spot": "yes", "pool": "b"}, "tolerations": [{"key": "mine", "operator": "Exists"}]}
)
CLOUDS = tuple({name: value} for name, value in MARKS)


def planned(spot: str, it: Any = PLAIN, **spec: Any) -> Plan:
    return plan(on_h100(accelerator={"profiles": ["h100"], "spot": spot}, **spec), [it])


# --- without the spec's permission ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("it", "excluded"), [(PLAIN, CLOUDS), (OWN, ({"spot": "yes", "pool": "b"}, *CLOUDS))])
def test_a_model_that_does_not_allow_spot_nodes_is_kept_away_from_them(it: Any, excluded: object) -> None:
    found = planned("Never", it)
    assert (found.excluded_nodes, found.node_terms, found.tolerations) == (excluded, ({"gpu": "h100"},), [GPU_TAINT])
    assert plan(on_h100(), [it]).excluded_nodes == excluded


@pytest.mark.parametrize("wanted", [deployment(engine={"name": "llamacpp"}), deployment(engine={"name": "sglang-own"})])
def test_so_is_one_on_cpus_and_one_whose_runtime_says_what_it_needs(wanted: Any) -> None:
    assert plan(wanted, [cpu()]).excluded_nodes == CLOUDS


def test_a_selector_that_leaves_no_node_is_warned_about() -> None:
    pod = {"nodeSelector": {"karpenter.sh/capacity-type": "spot"}}
    assert planned("Never", pod=pod).warnings == (
        "pod.nodeSelector selects spot nodes (karpenter.sh/capacity-type=spot) and accelerator.spot is Never, so no "
        "node is left: set accelerator.spot to Allowed or Required.",
    )
    assert planned("Allowed", pod=pod).warnings == ()


def test_a_profile_whose_nodes_are_all_spot_nodes_is_refused_with_the_field_to_set() -> None:
    there = ProfileSupply(nodes=2, most_on_a_node=8, spot_nodes=2)
    supply = Supply(profiles={"h100": there}, regular={"h100": ProfileSupply()}, spot={"h100": there})
    made = make_plan(on_h100().spec, [PLAIN], name="llama", supply=supply)
    assert isinstance(made, Unplannable)
    assert "its nodes are all spot nodes, which the spec doesn't allow: set accelerator.spot to Allowed" in made.message


# --- with it ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spot", ["Allowed", "Required"])
def test_a_model_that_allows_them_tolerates_the_taints_that_clouds_give_them(spot: str) -> None:
    found = planned(spot, OWN)
    assert found.excluded_nodes == ()
    rendered = [Toleration.model_validate(each) for each in found.tolerations]
    for name, value in MARKS:
        if name != "karpenter.sh/capacity-type":
            assert tolerates(rendered, Taint(name, value, "NoSchedule"))
            assert not tolerates(rendered, Taint(name, "other", "NoSchedule"))
    assert tolerates(rendered, Taint("mine", "", "NoSchedule"))
    assert len(rendered) == 2 + len(TOLERATIONS)


def test_spot_nodes_that_are_required_have_one_of_the_labels() -> None:
    assert planned("Required").node_terms == tuple({"gpu": "h100", **each} for each in CLOUDS)
    own = {"gpu": "h100", "spot": "yes", "pool": "b"}
    assert planned("Required", OWN).node_terms == (own, *({"gpu": "h100", **each} for each in CLOUDS))
    assert planned("Allowed").node_terms == ({"gpu": "h100"},)
    on_cpus = deployment(engine={"name": "llamacpp"}, accelerator={"spot": "Required"})
    assert plan(on_cpus, [cpu()]).node_terms == CLOUDS


def test_nodes_of_one_cloud_have_no_labels_of_others() -> None:
    gke = {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    assert {name for each in with_marks(gke, PLAIN.spec) for name in each} == {
        "cloud.google.com/gke-accelerator",
        "cloud.google.com/gke-spot",
        "cloud.google.com/gke-provisioning",
        "cloud.google.com/gke-preemptible",
        "karpenter.sh/capacity-type",
    }
    aws = {"karpenter.k8s.aws/instance-gpu-name": "l4", "karpenter.sh/capacity-type": "on-demand"}
    assert list(with_marks(aws, PLAIN.spec)) == [{**aws, "eks.amazonaws.com/capacityType": "SPOT"}]


def test_every_shipped_profile_can_be_required_on_spot_nodes() -> None:
    for each in shipped_profiles():
        terms = [term for labels in each.spec.label_sets or ({},) for term in with_marks(labels, each.spec)]
        assert 0 < len(terms) <= len(each.spec.label_sets or ({},)) * len(marked(each.spec))
