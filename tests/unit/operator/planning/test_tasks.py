"""What a model is for: the spec's word, else its architecture's, and what the plan and the pods make of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeployment
from slipway.models.config import model_of_config
from slipway.models.facts import Model
from slipway.models.sources import known_of
from slipway.operator.planning import Plan, Unplannable
from slipway.operator.planning.make import make_plan
from slipway.operator.planning.tasks import cannot_do, task_of, without_meaning
from slipway.operator.rendering.engines import ENGINES
from support.builders.llmdeployments import acceleratorprofile, llmdeployment, merged
from support.builders.plans import SMALL

ENCODER = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}
BERT = model_of_config(ENCODER)
CPU = AcceleratorProfile.model_validate(
    acceleratorprofile("cpu", {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "16Gi"})
)


def deployment(task: str = "Auto", **spec: Any) -> LLMDeployment:
    return LLMDeployment.model_validate(llmdeployment("model", merged({"model": {"task": task}}, spec)))


def arguments(task: str = "Auto", planned: str = "", engine: str = "vllm", **of_engine: Any) -> list[str]:
    wanted = deployment(task, engine={"name": engine, **of_engine})
    return ENGINES[engine].arguments(wanted, replace(SMALL, engine=engine, task=planned))


@pytest.mark.parametrize(
    ("task", "model", "flags", "expected"),
    [
        pytest.param("Auto", BERT, (), "Embed", id="the architecture's"),
        pytest.param("Rerank", BERT, (), "Rerank", id="the spec's before the architecture's"),
        pytest.param("Generate", None, (), "Generate", id="the spec's alone"),
        pytest.param("Auto", None, (), "", id="unknown"),
        pytest.param("Auto", Model(architecture=""), (), "", id="unknown, of a model with other facts"),
        pytest.param("Auto", BERT, ("--runner=generate",), "", id="unknown, since a flag asks vLLM for another"),
        pytest.param("Embed", BERT, ("--convert=classify",), "Embed", id="the spec's, whatever the flags ask for"),
    ],
)
def test_it_is_the_specs_or_the_architectures(
    task: str, model: Model | None, flags: tuple[str, ...], expected: str
) -> None:
    assert task_of(deployment(task, engine={"extraArgs": [*flags]}).spec, model) == expected


def test_a_fact_of_the_spec_counts_as_the_task() -> None:
    known = known_of("hf://org/new", deployment(model={"facts": {"task": "Embed"}}).spec.model.facts)
    assert task_of(deployment().spec, known.model) == "Embed"


def test_the_spec_decides_what_a_known_model_is_planned_for() -> None:
    known = known_of("hf://Qwen/Qwen3-0.6B", task="Embed")
    assert known.model
    assert known.model.task == "Embed"


def test_the_pod_is_told_unless_its_files_know_better() -> None:
    assert "--task=Embed" in arguments("Embed", "Embed")
    assert "--task=Embed" in arguments("Auto", "Embed")
    assert "--task=Generate" in arguments("Generate", "Generate")
    for planned in ("Generate", ""):
        assert not [each for each in arguments("Auto", planned) if each.startswith("--task")]


def test_an_encoder_is_planned_without_a_cache_and_for_its_own_length() -> None:
    spec = deployment(engine={"name": "llamacpp"}).spec
    known = known_of("pvc://models/bert", spec.model.facts, inspection={"config": dict(ENCODER), "files": 440_000_000})
    plan = make_plan(spec, [CPU], name="model", known=known)
    assert isinstance(plan, Plan)
    assert (plan.task, plan.kv_tokens, plan.context_length) == ("Embed", 0, 512)
    assert plan.memory
    assert plan.memory.kv_cache == 0


@pytest.mark.parametrize("task", ["Classify", "Transcribe"])
def test_what_llamacpp_cannot_do_is_no_plan(task: str) -> None:
    spec = deployment(task, engine={"name": "llamacpp"}).spec
    plan = make_plan(spec, [CPU], name="model")
    assert isinstance(plan, Unplannable)
    assert plan.message == cannot_do(spec, None)
    assert plan.message == (
        f"llamacpp can't serve a model whose task is {task}: set engine.name to vllm, or correct model.task."
    )
    assert not cannot_do(deployment(task).spec, None)


def test_times_of_tokens_are_named_as_targets_without_a_meaning() -> None:
    spec = deployment(slo={"ttftP95": "500ms"}, scaling={"target": {"tpotP95": "40ms"}}).spec
    assert len([*without_meaning(spec, "Embed")]) == 2
    assert not [*without_meaning(spec, "Generate")]
    assert not [*without_meaning(deployment(slo={"e2eP99": "1s"}).spec, "Embed")]


def test_nomic_embed_is_known_to_the_byte() -> None:
    known = known_of("hf://nomic-ai/nomic-embed-text-v1.5")
    assert known.model
    assert known.model.weights
    assert (known.model.task, known.model.weights.total) == ("Embed", 136_731_648)
    assert not known.model.missing
