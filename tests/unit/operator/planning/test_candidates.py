"""What rules a profile out for a model before its memory is looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from slipway.models.catalogue import shipped
from slipway.models.facts import Experts, Model, Quantization
from slipway.operator.planning.candidates import Candidate, cannot_divide, why_not
from slipway.operator.planning.supply import Supply
from support.builders.models import LLAMA_8B, QWEN_14B
from support.builders.rendering import cpu, deployment, profile

T4 = profile("t4", memory="16Gi", features=["int8", "int4"])
A100 = profile("a100", memory="80Gi", features=["bf16", "int8"])
H100 = profile("h100", memory="80Gi", features=["bf16", "fp8", "int8"])
UNSAID = profile("unsaid", memory="80Gi", features=[])
MI210 = profile("mi210", vendor="AMD", memory="64Gi", features=["bf16", "int8"])
MI300 = profile("mi300", vendor="AMD", memory="192Gi", features=["bf16", "fp8", "int8"])
MI355 = profile("mi355", vendor="AMD", memory="288Gi", features=["bf16", "fp8", "fp4", "int8"])
GEMMA_2 = replace(LLAMA_8B, architecture="Gemma2ForCausalLM", model_type="gemma2")


def objection(it: Any, model: Model | None = LLAMA_8B, *, tensor: int = 1, pipeline: int = 1, **engine: Any) -> str:
    return why_not(deployment(engine=engine).spec, Candidate(it, tensor, pipeline), model, Supply())


def quantized(method: str, bits: float, **further: Any) -> Model:
    return replace(LLAMA_8B, quantization=Quantization(method=method, bits=bits, **further))


def known(name: str) -> Model:
    model = shipped().find(f"hf://{name}")
    assert model is not None
    return model


# --- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gemma2", "gemma3", "gemma3_text", "glm4"])
def test_a_model_that_overflows_in_float16_needs_a_device_with_bfloat16(kind: str) -> None:
    model = replace(GEMMA_2, model_type=kind)
    wrong = "the model can't be computed in float16, and the device has no bfloat16"
    assert [objection(each, model) for each in (T4, A100, UNSAID, MI210)] == [wrong, "", "", ""]
    assert objection(T4) == ""


def test_who_asks_for_another_type_gets_it() -> None:
    assert objection(T4, GEMMA_2, extraArgs=["--dtype=float32"]) == ""


@pytest.mark.parametrize(
    ("model", "runs"),
    [
        (quantized("fp8", 8), "a100 h100 unsaid mi300 mi355"),
        (quantized("modelopt", 8), "a100 h100 unsaid mi300 mi355"),
        (quantized("compressed-tensors", 8, floats=True), "a100 h100 unsaid mi300 mi355"),
        (quantized("mxfp4", 4), "a100 h100 unsaid mi300 mi355"),
        (quantized("modelopt", 4), "a100 h100 unsaid"),
        (quantized("compressed-tensors", 4, floats=True, group_size=16), "a100 h100 unsaid"),
        (quantized("compressed-tensors", 8), "t4 a100 h100 unsaid mi210 mi300 mi355"),
        (quantized("awq", 4), "t4 a100 h100 unsaid mi210 mi300 mi355"),
        (quantized("gptq", 3), "t4 a100 h100 unsaid mi210 mi300 mi355"),
    ],
)
def test_a_device_must_be_able_to_compute_with_the_weights(model: Model, runs: str) -> None:
    devices = [T4, A100, H100, UNSAID, MI210, MI300, MI355]
    assert " ".join(each.metadata.name for each in devices if not objection(each, model)) == runs


def test_the_objection_names_the_format_and_not_the_tool() -> None:
    assert objection(MI355, quantized("modelopt", 4)) == "the device can't compute with NVFP4 weights"


def test_a_cache_in_fp8_needs_a_device_with_fp8() -> None:
    wrong = "the device can't compute with an FP8 cache"
    found = [objection(each, kvCacheDtype="FP8") for each in (T4, A100, H100, UNSAID, MI300)]
    assert found == [wrong, wrong, "", "", ""]


# --- the spec against the checkpoint ---------------------------------------------------------------------------------


def test_a_checkpoint_in_another_format_is_not_quantized_again() -> None:
    found = objection(H100, quantized("mxfp4", 4), quantization="FP8")
    assert found == "the checkpoint is mxfp4: remove engine.quantization"
    assert objection(H100, quantized("fp8", 8), quantization="FP8") == ""


@pytest.mark.parametrize("wanted", ["AWQ", "GPTQ", "W8A8", "W4A16"])
def test_a_format_that_only_checkpoints_have_is_not_asked_of_one_in_16_bits(wanted: str) -> None:
    assert objection(H100, quantization=wanted).startswith("the checkpoint isn't quantized: remove engine.quantization")
    assert objection(H100, quantized("awq", 4), quantization=wanted) == ""


@pytest.mark.parametrize("model", [None, replace(LLAMA_8B, architecture="")])
def test_an_unknown_checkpoint_contradicts_nothing(model: Model | None) -> None:
    assert objection(H100, model, quantization="AWQ") == ""


# --- parallelism -----------------------------------------------------------------------------------------------------


def test_blocks_of_weights_that_share_a_scale_are_not_split() -> None:
    """1536 / 8 = 192, which isn't a multiple of 128; 1536 / 4 = 384 is."""
    model = known("Qwen/Qwen3-235B-A22B-FP8")
    wrong = "its MLPs of width 1536 can't be divided by parallelism.tensor 8 into whole blocks of 128"
    assert (cannot_divide(model, 4), cannot_divide(model, 8)) == ("", wrong)
    assert cannot_divide(known("Qwen/Qwen3-235B-A22B"), 8) == ""


def test_experts_that_stay_whole_are_not_split() -> None:
    model = known("Qwen/Qwen3-235B-A22B-FP8")
    assert cannot_divide(model, 8, whole_experts=True) == ""
    wide = profile("wide", memory="80Gi", devicesPerNode=8, features=["bf16", "fp8"])
    assert objection(wide, model, tensor=8).startswith("its MLPs of width 1536")
    assert objection(wide, model, tensor=8, extraArgs=["--enable-expert-parallel"]) == ""


def test_groups_of_integers_are_not_split() -> None:
    """13824 = 108 * 128."""
    model = replace(QWEN_14B, quantization=Quantization(method="awq", bits=4, group_size=128, edge=128))
    assert cannot_divide(model, 4) == ""
    assert "its MLPs of width 13824" in cannot_divide(model, 8)


def test_dense_layers_that_stay_in_16_bits_are_split_anywhere() -> None:
    model = quantized("fp8", 8, edge=4096, only_experts=True)
    experts = Experts(count=8, per_token=2, intermediate_size=8192, layers=16)
    assert cannot_divide(replace(model, experts=experts), 2) == ""


@pytest.mark.parametrize(("tensor", "pipeline"), [(2, 1), (1, 2)])
def test_on_cpus_vllm_is_not_split(tensor: int, pipeline: int) -> None:
    found = objection(cpu(), tensor=tensor, pipeline=pipeline)
    assert found == "on CPUs a replica is one process with all of the memory, so engine.parallelism must be 1"
    assert objection(cpu()) == ""
