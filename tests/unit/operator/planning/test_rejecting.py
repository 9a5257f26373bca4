"""Why no other profile: in few lines, whatever the number of profiles."""

from __future__ import annotations

import json

import pytest
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.schema import LONGEST_LINE, MOST_LINES
from slipway.models.catalogue import shipped
from slipway.models.sources import Known
from slipway.observing.plan_report import lines
from slipway.operator.planning import Supply, make_plan
from slipway.operator.planning.rejecting import MOST_NAMED, MOST_NEAR, MOST_REASONS
from slipway.operator.planning.supply import ProfileSupply
from support.builders.rendering import profile, shipped_profiles

ALL = shipped_profiles()
LARGE, SMALL = "meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.1-8B"


def rejected(name: str = SMALL, supply: Supply | None = None, *, among: list[AcceleratorProfile] = ALL) -> list[str]:
    spec = LLMDeploymentSpec.model_validate({"model": {"uri": f"hf://{name}"}, "engine": {"name": "vllm"}})
    known = Known(shipped().find(f"hf://{name}"))
    return lines(make_plan(spec, among, name="model", known=known, supply=supply or Supply()).rejected)


def test_profiles_without_nodes_share_a_line_that_says_how_many_they_are() -> None:
    there = ProfileSupply(nodes=1, devices=8, most_on_a_node=8, free=8, most_free_on_a_node=8)
    supply = Supply({each.metadata.name: ProfileSupply() for each in ALL} | {"l4": there})
    [line] = rejected(supply=supply)
    names, _, reason = line.partition(": ")
    assert reason == "for each, the cluster has no node with it, and nothing that would add one."
    assert len(names.split(", ")) == MOST_NAMED
    assert names.endswith(" more")


def test_those_that_fit_come_first_then_those_that_a_change_makes_fit_then_those_that_lack_the_least() -> None:
    found = rejected(LARGE)
    fits, others = [each for each in found if "fits" in each], [each for each in found if "needs" in each]
    assert found == [*fits, *others]
    ways_out = [each.count(": ") - each.count(": for each") > 1 or "FP8" in each for each in others]
    assert ways_out == sorted(ways_out, reverse=True)
    alone = [each for each in others if "for each" not in each and "FP8" not in each and "memory:" not in each]
    lacking = [float(each.partition("needs ")[2].partition(" ")[0]) for each in alone]
    assert lacking == sorted(lacking)


def test_of_those_that_lack_much_the_least_number_is_named() -> None:
    assert "for each, needs at least " in rejected(LARGE)[-1]


def test_a_reason_of_a_single_profile_comes_before_one_that_many_share() -> None:
    there = ProfileSupply(nodes=1, devices=8, most_on_a_node=8)
    odd = ProfileSupply(tainted=1, taints=("team=research:NoSchedule",))
    supply = Supply({each.metadata.name: ProfileSupply() for each in ALL} | {"l4": there, "t4": odd})
    found = rejected(supply=supply)
    assert found[0].startswith("t4: ")
    assert "for each" in found[1]


def test_no_profile_is_forgotten() -> None:
    some = [profile(f"gpu-{number}", memory=f"{number + 1}Gi") for number in range(MOST_NEAR + 5)]
    text = " ".join(rejected(LARGE, among=some))
    assert all(each.metadata.name in text for each in some)


@pytest.mark.parametrize("name", [SMALL, LARGE])
def test_they_are_a_small_part_of_what_the_status_has_room_for(name: str) -> None:
    """One line for each profile took 4.3 kB of each object, and as much of the operator's memory."""
    found = rejected(name)
    assert len(found) < MOST_LINES / 2
    assert all(len(each) < LONGEST_LINE / 2 for each in found)
    assert len(json.dumps(found)) < 2_000


def test_of_very_many_reasons_the_last_line_names_the_profiles() -> None:
    tainted = {each.metadata.name: (f"team={number}:NoSchedule",) for number, each in enumerate(ALL)}
    supply = Supply({name: ProfileSupply(tainted=1, taints=taints) for name, taints in tainted.items()})
    found = rejected(supply=supply)
    assert len(found) == MOST_REASONS + 1
    assert found[-1].endswith(" more: for each, ruled out for further reasons.")
