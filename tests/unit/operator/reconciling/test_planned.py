"""When the plan of an LLMDeployment is made again, and when the last one is kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.status import ModelStatus
from slipway.models.catalogue import Catalogue
from slipway.observing.snapshot import Snapshot
from slipway.operator.planning import Plan, Supply
from slipway.operator.planning.supply import ProfileSupply
from slipway.operator.reconciling.planned import Planned, planned
from support.builders.llmdeployments import llmdeployment
from support.builders.rendering import profile

LLAMA = "hf://meta-llama/Llama-3.1-8B"
SUPPLY = Supply({"h100": ProfileSupply(nodes=1, devices=8, most_on_a_node=8), "l4": ProfileSupply(can_grow=True)})
ON_A_NODE = {"metadata": {"name": "a"}, "spec": {"nodeName": "b"}}
PROFILES = (profile("h100", costPerHour=7), profile("l4", memory="24Gi", costPerHour=1))


def snapshot(*, engine: dict[str, Any] | None = None, **status: Any) -> Snapshot:
    raw = llmdeployment("llama") | {"spec": {"model": {"uri": LLAMA}, "engine": engine or {}}}
    raw["metadata"] |= {"namespace": "chat", "uid": "4711", "generation": 1}
    return Snapshot(now=datetime.now(UTC), llm_deployment=raw | {"status": status}, profiles=PROFILES)


def plan_of(seen: Snapshot, supply: Supply = SUPPLY, before: Planned | None = None, **sources: Any) -> Planned:
    raw = {name: value for name, value in seen.llm_deployment.items() if name != "status"}
    return planned(seen, LLMDeployment.model_validate(raw), supply, before, **sources)


def test_a_plan_is_kept_while_nothing_that_it_depends_on_changes() -> None:
    first = plan_of(snapshot())
    assert plan_of(snapshot(message="another status"), Supply(dict(SUPPLY.profiles or {})), first) is first


@pytest.mark.parametrize(
    "changed",
    [
        snapshot(engine={"contextLength": 4096}),
        replace(snapshot(), profiles=(PROFILES[0],)),
        replace(snapshot(), profiles=tuple(each.model_copy() for each in PROFILES)),
        replace(snapshot(made={"accelerator": "h100", "gpusPerReplica": 1}), pods=(ON_A_NODE,)),
        snapshot(measured={"key": "0123456789abcdef-0123456789abcdef", "kvTokens": 5}),
        replace(snapshot(), runtimes={"slipway-vllm-cuda": {"metadata": {"name": "slipway-vllm-cuda-2"}}}),
    ],
    ids=["the spec", "which profiles there are", "a profile", "where it runs", "a measurement", "a runtime"],
)
def test_a_change_makes_another_one(changed: Snapshot) -> None:
    first = plan_of(snapshot())
    assert plan_of(changed, before=first) is not first


@pytest.mark.parametrize(
    "changed",
    [{"site": Catalogue(())}, {"record": ModelStatus(facts="{}")}, {"record": ModelStatus(evidence="reported")}],
    ids=["the models of a site", "what was read", "who says so"],
)
def test_a_change_of_what_is_known_of_models_makes_another_one(changed: dict[str, Any]) -> None:
    first = plan_of(snapshot())
    second = plan_of(snapshot(), before=first, **changed)
    assert second is not first
    assert plan_of(snapshot(), before=second, **changed) is second


def test_a_change_of_the_nodes_makes_another_one() -> None:
    first = plan_of(snapshot())
    assert isinstance(first.plan, Plan)
    assert first.plan.profile == "l4"
    second = plan_of(snapshot(), Supply({"h100": ProfileSupply(nodes=1, devices=8, most_on_a_node=8)}), first)
    assert isinstance(second.plan, Plan)
    assert second.plan.profile == "h100"


def test_a_model_of_the_catalogue_is_planned_by_its_name_alone() -> None:
    made = plan_of(snapshot())
    assert isinstance(made.plan, Plan)
    assert made.known.sources == ("the catalogue of models",)
    assert made.plan.memory
    assert "The model's numbers are from the catalogue of models; steps" in made.plan.why[-1]
