"""Asking the Hub about a model, in the operator's loop: from the first reconcile to the plan, and failures."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import yaml
from slipway.api.model_key import ModelKey
from slipway.models.site import site_of
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    Object,
)
from slipway.observing.inspection_report import of_config
from slipway.operator.planning import Supply
from slipway.operator.reconciling import reconciler
from slipway.operator.reconciling.asking import Answer, Elsewhere
from slipway.operator.reconciling.deciding import Decision, decide
from support.builders.configs import LLAMA_3_1_8B
from support.builders.inspections import runtime
from support.builders.rendering import profile
from support.builders.stored import kube_object, llm
from support.fakes.api_server import KEY
from support.programs.operator_loop import Loop, condition, state_and_reason, status

URI, NAME, COMMIT = "hf://acme/legal-8b", "acme/legal-8b", "0e9e39f249a16976918f6564b8830bc894c89659"
FACTS = of_config(LLAMA_3_1_8B)
PROBLEM = "The config.json of acme/legal-8b can't be read from https://hub.example: it answers 500."
WAITS = "The config.json of acme/legal-8b is being read from the Hub. The plan follows."


def of_hub(answer: Answer | None = None, *, revision: str = "main") -> Elsewhere:
    return Elsewhere(answers={(NAME, revision): answer} if answer else {})


def with_model(loop: Loop, **spec: Any) -> Loop:
    h100 = profile("h100", costPerHour=7).model_dump(by_alias=True, exclude_none=True)
    loop.api.put(kube_object(ACCELERATOR_PROFILE, "h100", spec=h100["spec"]))
    loop.api.put(kube_object(CLUSTER_SERVING_RUNTIME, "slipway-vllm-cuda", spec=runtime()["spec"]))
    loop.api.put(llm(engine={"name": "vllm"}, **{"model": {"uri": URI}, **spec}))
    return loop


@pytest.fixture
def loop() -> Loop:
    """A model on GPUs whose numbers are unknown, with a Hub that hasn't answered."""
    loop = with_model(Loop())
    loop.elsewhere = of_hub()
    return loop


def plan(loop: Loop) -> Object:
    found: Object = status(loop)["plan"]
    return found


# --- from the first reconcile to the plan ----------------------------------------------------------------------------


async def test_the_first_reconcile_asks_and_the_model_waits(loop: Loop) -> None:
    await loop.reconcile()
    assert loop.wanted == [(KEY, URI, None)]
    assert state_and_reason(loop) == ("Idle", "ReadingModel")
    assert status(loop)["message"] == f"ReadingModel: {WAITS}"
    assert condition(loop, "Reconciling")["status"] == "True"
    assert condition(loop, "Stalled")["status"] == "False"


async def test_with_the_answer_it_is_planned_and_nothing_more_is_asked(loop: Loop) -> None:
    await loop.reconcile()
    loop.elsewhere = of_hub(Answer(FACTS))
    await loop.settle()
    assert plan(loop)["accelerator"] == "h100"
    assert any("The model's numbers are from the Hub's config.json" in line for line in plan(loop)["why"])
    assert plan(loop)["memory"]["evidence"]["weights"] == "reported"
    assert status(loop)["model"] == {
        "source": URI,
        "digest": status(loop)["model"]["digest"],
        "facts": FACTS,
        "evidence": "reported",
        "readAt": "2026-11-21T10:00:00Z",
    }
    assert len(loop.wanted) == 1


async def test_the_plan_depends_on_no_further_answer(loop: Loop) -> None:
    loop.elsewhere = of_hub(Answer(FACTS))
    await loop.settle()
    made = plan(loop)
    for elsewhere in (of_hub(Answer(None, PROBLEM)), of_hub(), Elsewhere()):
        loop.take_over()
        loop.elsewhere = elsewhere
        await loop.settle()
        assert plan(loop) == made
    assert not loop.wanted


async def test_the_revision_is_asked_for() -> None:
    loop = with_model(Loop(), model={"uri": URI, "revision": COMMIT})
    loop.elsewhere = of_hub(Answer(None, PROBLEM), revision="main")
    await loop.reconcile()
    assert loop.wanted == [(KEY, URI, COMMIT)]
    loop.elsewhere = of_hub(Answer(FACTS), revision=COMMIT)
    await loop.settle()
    assert status(loop)["model"]["source"] == f"{URI}@{COMMIT}"


async def test_another_model_is_asked_about_again(loop: Loop) -> None:
    loop.elsewhere = of_hub(Answer(FACTS))
    await loop.settle()
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"model": {"uri": "hf://acme/other"}}, "metadata": {"generation": 2}})
    await loop.reconcile()
    assert loop.wanted == [(KEY, "hf://acme/other", None)]


async def test_what_is_free_is_read_when_the_first_plan_is_made_and_not_while_its_numbers_are_read(loop: Loop) -> None:
    read = []

    async def freshen() -> None:
        read.append(loop.time)

    loop.reconciler = replace(loop.reconciler, freshen=freshen)
    await loop.settle()
    assert state_and_reason(loop)[1] == "ReadingModel"
    assert not read
    loop.elsewhere = of_hub(Answer(FACTS))
    await loop.settle()
    assert len(read) == 1


@pytest.mark.parametrize("changes", [False, True])
async def test_a_first_plan_is_made_twice_only_where_other_devices_are_free_by_then(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, changes: bool
) -> None:
    supplies, decisions = [Supply(), Supply(profiles={})], []
    current = supplies[0]

    async def freshen() -> None:
        nonlocal current
        current = supplies[changes]

    def counted(*given: Any, supply: Supply, **more: Any) -> Decision:
        decisions.append(supply)
        return decide(*given, supply=supply, **more)

    monkeypatch.setattr(reconciler, "decide", counted)
    loop.elsewhere = of_hub(Answer(FACTS))
    loop.reconciler = replace(loop.reconciler, freshen=freshen, supply=lambda: current)
    await loop.reconcile()
    assert decisions == supplies[: 1 + changes]


# --- failures --------------------------------------------------------------------------------------------------------


async def test_an_answer_without_numbers_is_in_the_status_and_asked_for_again(loop: Loop) -> None:
    loop.elsewhere = of_hub(Answer(None, PROBLEM))
    await loop.settle()
    assert state_and_reason(loop) == ("Failed", "NoAcceleratorFits")
    assert PROBLEM in status(loop)["message"]
    assert loop.wanted
    loop.elsewhere = of_hub(Answer(FACTS))
    await loop.settle()
    assert plan(loop)["accelerator"] == "h100"


async def test_a_model_that_names_profiles_waits_ten_seconds_for_the_first_answer_and_no_longer() -> None:
    """Otherwise its pods would start, and be replaced a second later by those of the plan with the numbers."""
    loop = with_model(Loop(), accelerator={"profiles": ["h100"]})
    loop.elsewhere = of_hub()
    assert await loop.reconcile() == 10
    assert state_and_reason(loop) == ("Idle", "ReadingModel")
    assert status(loop)["message"] == (
        f"ReadingModel: The config.json of {NAME} is being read from the Hub. Without an answer by 10:00:10 UTC, it is "
        "planned without its numbers."
    )
    assert not [each for each in loop.api.writes() if "InferenceService" in each]
    loop.time += timedelta(seconds=9)
    assert await loop.reconcile() == 1
    loop.time += timedelta(seconds=1)
    await loop.reconcile()
    assert plan(loop)["accelerator"] == "h100"
    loop.elsewhere = of_hub(Answer(None, PROBLEM))
    await loop.settle()
    assert PROBLEM in plan(loop)["why"]


async def test_a_model_that_names_profiles_is_planned_once_if_the_answer_is_there_in_time() -> None:
    loop = with_model(Loop(), accelerator={"profiles": ["h100"]})
    loop.elsewhere = of_hub()
    await loop.reconcile()
    loop.elsewhere = of_hub(Answer(FACTS))
    await loop.reconcile()
    assert plan(loop)["kvTokens"]
    assert loop.api.writes().count("apply InferenceService") == 1


async def test_another_model_in_the_spec_waits_for_its_own_answer_while_the_old_one_serves() -> None:
    loop = with_model(Loop(), accelerator={"profiles": ["h100"]})
    loop.elsewhere = of_hub(Answer(FACTS))
    await loop.settle()
    before = loop.api.get(INFERENCE_SERVICE)["spec"]
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"model": {"uri": "hf://acme/other"}}, "metadata": {"generation": 2}})
    await loop.settle()
    assert state_and_reason(loop)[1] == "ReadingModel"
    assert loop.api.get(INFERENCE_SERVICE)["spec"] == before
    loop.time += timedelta(seconds=10)
    await loop.settle()
    assert loop.api.get(INFERENCE_SERVICE)["spec"] != before


async def test_a_change_of_other_fields_waits_for_no_answer() -> None:
    loop = with_model(Loop(), accelerator={"profiles": ["h100"]})
    loop.elsewhere = of_hub(Answer(None, PROBLEM))
    await loop.settle()
    loop.elsewhere = of_hub()
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"maxReplicas": 3}}, "metadata": {"generation": 2}})
    await loop.settle()
    assert plan(loop)["accelerator"] == "h100"
    assert status(loop)["observedGeneration"] == 2


async def test_that_too_many_models_wait_for_the_hub_is_said_on_those_that_it_is_not_asked_about(loop: Loop) -> None:
    loop.refusal = "The Hub is asked later."
    await loop.reconcile()
    assert status(loop)["message"] == "ReadingModel: The Hub is asked later. The plan follows."
    named = with_model(Loop(), accelerator={"profiles": ["h100"]})
    named.elsewhere, named.refusal = of_hub(), "The Hub is asked later."
    await named.reconcile()
    named.time += timedelta(seconds=10)
    await named.settle()
    assert "The Hub is asked later." in plan(named)["why"]


async def test_a_plan_stays_while_a_new_leader_waits_for_the_hub() -> None:
    loop = with_model(Loop(), accelerator={"profiles": ["h100"]})
    loop.elsewhere = of_hub(Answer(None, PROBLEM))
    await loop.settle()
    loop.take_over()
    loop.elsewhere = of_hub()
    await loop.settle()
    assert plan(loop)["accelerator"] == "h100"
    assert state_and_reason(loop)[1] != "ReadingModel"


async def test_an_answer_that_says_too_little_is_kept(loop: Loop) -> None:
    loop.elsewhere = of_hub(Answer(of_config({"architectures": ["UnheardOf"], "hidden_size": 8})))
    await loop.settle()
    assert state_and_reason(loop) == ("Failed", "NoAcceleratorFits")
    assert not loop.wanted


async def test_an_object_that_is_no_model_is_not_asked_about(loop: Loop) -> None:
    loop.api.put(llm(engine={"name": "vllm"}, model={"uri": "https://files.example/model"}))
    await loop.settle()
    assert not loop.wanted


async def test_a_hub_that_is_not_allowed_is_not_waited_for(loop: Loop) -> None:
    loop.elsewhere = Elsewhere()
    await loop.settle()
    assert not loop.wanted
    assert state_and_reason(loop) == ("Failed", "NoAcceleratorFits")


async def test_a_model_that_is_gone_waits_for_the_hub_no_longer(loop: Loop) -> None:
    gone: list[ModelKey] = []
    loop.reconciler = replace(loop.reconciler, unwanted=gone.append)
    await loop.reconcile()
    assert gone == []
    loop.api.remove(LLM_DEPLOYMENT)
    await loop.reconcile()
    assert gone == [KEY]


# --- with other sources ----------------------------------------------------------------------------------------------


async def test_a_model_of_the_catalogue_is_not_asked_about() -> None:
    loop = with_model(Loop(), model={"uri": "hf://meta-llama/Llama-3.1-8B"})
    loop.elsewhere = of_hub()
    await loop.settle()
    assert not loop.wanted
    assert plan(loop)["accelerator"] == "h100"


async def test_a_model_of_the_site_is_not_asked_about(loop: Loop) -> None:
    text = yaml.safe_dump({"models": [{"names": [NAME], "config": LLAMA_3_1_8B}]})
    site = site_of([{"metadata": {"name": "acme"}, "data": {"acme.yaml": text}}]).catalogue
    loop.elsewhere = Elsewhere(site, {})
    await loop.settle()
    assert not loop.wanted
    assert any("The model's numbers are from a ConfigMap of models" in line for line in plan(loop)["why"])
