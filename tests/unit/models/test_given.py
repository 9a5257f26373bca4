"""Facts of the spec win over what is known otherwise; contradictions are named, with the remedy."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.api.model import ModelFacts
from slipway.models.catalogue import shipped
from slipway.models.facts import Evidence, Keeps, Layers, Model
from slipway.models.given import with_facts
from slipway.models.sources import NOTHING_KNOWN

LLAMA, GEMMA, DEEPSEEK = "meta-llama/Llama-3.1-8B", "google/gemma-3-12b-it", "deepseek-ai/DeepSeek-V2-Lite"
HYBRID = "Qwen/Qwen3-Next-80B-A3B-Instruct"


def known(name: str) -> Model:
    found = shipped().find(f"hf://{name}")
    assert found is not None
    return found


def given(name: str, **facts: Any) -> Model:
    result = with_facts(known(name), ModelFacts(**facts))
    assert not result.problems
    return result.model


def problem(model: Model, **facts: Any) -> str:
    (sentence,) = with_facts(model, ModelFacts(**facts)).problems
    return sentence


def test_a_field_that_is_given_replaces_the_one_that_is_known() -> None:
    model = given(LLAMA, context_length=8192, hidden_size=5120, task="Embed", vocabulary_size=100, intermediate_size=7)
    assert (model.context_length, model.longest_context, model.hidden_size) == (8192, 8192, 5120)
    assert (model.task, model.vocabulary_size, model.intermediate_size) == ("Embed", 100, 7)
    assert model.evidence["contextLength"] is Evidence.REPORTED


def test_sizes_apply_to_all_layers_that_have_them() -> None:
    assert {each.kv_heads for each in given(GEMMA, kv_heads=4).layers} == {4}
    assert {(each.key_size, each.value_size) for each in given(GEMMA, head_dim=128).layers} == {(128, 128)}
    assert [each.window for each in given(GEMMA, sliding_window=512).layers] == [512, None]
    assert given(DEEPSEEK, latent_size=1088).layers[0].latent_size == 1088


def test_a_state_of_given_bytes_is_exact() -> None:
    state = given(HYBRID, state_bytes=1001).layers[0]
    assert 2 * state.state_16_bit + 4 * state.state_32_bit == 1002  # whole values


def test_numbers_of_layers_divide_them_anew() -> None:
    assert [(each.count, each.window) for each in given(GEMMA, sliding_layers=24).layers] == [(24, None), (24, 1024)]
    assert [each.count for each in given(LLAMA, layers=40).layers] == [40]
    layers = given(HYBRID, layers=12, state_layers=6).layers
    assert sorted((each.keeps, each.count) for each in layers) == [(Keeps.KEYS_AND_VALUES, 6), (Keeps.STATE, 6)]


def test_a_window_can_be_added() -> None:
    layers = given(LLAMA, sliding_window=1024, sliding_layers=16).layers
    assert [(each.count, each.window) for each in layers] == [(16, None), (16, 1024)]


def test_a_model_can_be_described_by_facts_alone() -> None:
    facts = ModelFacts(
        parameters=8_000_000_000,
        layers=32,
        attention_heads=32,
        kv_heads=8,
        hidden_size=4096,
        vocabulary_size=128256,
        context_length=8192,
    )
    result = with_facts(NOTHING_KNOWN, facts)
    assert not result.problems
    assert not result.model.missing
    assert result.model.layers == (Layers(count=32, kv_heads=8, key_size=128, value_size=128),)
    assert result.model.weights is not None
    assert result.model.weights.embedding == 128256 * 4096


def test_latent_attention_and_windows_can_be_described_by_facts_alone() -> None:
    (latent,) = with_facts(NOTHING_KNOWN, ModelFacts(layers=27, latent_size=576)).model.layers
    assert (latent.keeps, latent.count, latent.latent_size) == (Keeps.LATENT, 27, 576)
    (local,) = with_facts(NOTHING_KNOWN, ModelFacts(layers=4, kv_heads=2, head_dim=64, sliding_window=512)).model.layers
    assert (local.count, local.window) == (4, 512)
    facts = ModelFacts(layers=4, kv_heads=2, head_dim=64, state_layers=3, state_bytes=4096)
    layers = with_facts(NOTHING_KNOWN, facts).model.layers
    assert sorted((each.keeps, each.count) for each in layers) == [(Keeps.KEYS_AND_VALUES, 1), (Keeps.STATE, 3)]


# --- weights ---------------------------------------------------------------------------------------------------------


def test_parameters_replace_the_count_and_keep_what_is_idle() -> None:
    known_weights = known(DEEPSEEK).weights
    assert known_weights is not None
    weights = given(DEEPSEEK, parameters=known_weights.total + 1000).weights
    assert weights is not None
    assert weights.total - weights.active == known_weights.total - known_weights.active


def test_the_size_of_the_files_wins() -> None:
    weights = given(LLAMA, weights="16Gi").weights
    assert weights is not None
    assert weights.file_bytes == 16 << 30


def test_the_size_and_the_type_give_the_number() -> None:
    weights = with_facts(NOTHING_KNOWN, ModelFacts(weights="16Gi", dtype="bfloat16")).model.weights
    assert weights is not None
    assert weights.total == 8 << 30


def test_a_type_of_few_bits_is_a_quantization() -> None:
    found = given(LLAMA, dtype="float8").quantization
    assert found is not None
    assert (found.method, found.bits) == ("fp8", 8)
    assert given("openai/gpt-oss-20b", dtype="bfloat16").quantization is None


def test_parts_are_taken() -> None:
    weights = given(
        DEEPSEEK, embedding_parameters=1000, expert_parameters=14_000_000_000, active_parameters=2_000_000_000
    )
    assert weights.weights is not None
    assert (weights.weights.embedding, weights.weights.experts, weights.weights.active) == (
        1000,
        14_000_000_000,
        2_000_000_000,
    )


# --- contradictions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "facts", "words"),
    [
        (LLAMA, {"kv_heads": 7}, "32 attention heads, which its 7 key and value heads don't divide"),
        (LLAMA, {"sliding_layers": 8}, "slidingLayers is 8, without a size of the window: add slidingWindow"),
        (LLAMA, {"state_layers": 8}, "stateLayers is 8, without the size of a state: add stateBytes"),
        (GEMMA, {"layers": 10}, "of 10 layers, 40 have a sliding window"),
        (LLAMA, {"parameters": 1_000_000}, "spec.model.facts.parameters is 1000000, which is less than its parts"),
        (LLAMA, {"active_parameters": 9_000_000_000}, "correct it, or activeParameters"),
    ],
)
def test_a_contradiction_is_named_with_its_value_and_the_remedy(name: str, facts: dict[str, Any], words: str) -> None:
    assert words in problem(known(name), **facts)


def test_a_number_of_layers_alone_does_not_say_what_they_keep() -> None:
    assert "add kvHeads, or latentSize" in problem(NOTHING_KNOWN, layers=32)


def test_numbers_of_layers_of_several_sizes_are_refused() -> None:
    layers = (
        Layers(count=2, kv_heads=2, key_size=64, value_size=64),
        Layers(count=2, kv_heads=4, key_size=64, value_size=64),
    )
    model = Model(architecture="X", layers=layers, attention_heads=8)
    assert "its layers are of 2 sizes" in problem(model, layers=6)


def test_what_contradicts_is_left_out() -> None:
    result = with_facts(known(LLAMA), ModelFacts(sliding_layers=8, context_length=4096))
    assert result.model.layers == known(LLAMA).layers
    assert result.model.context_length == 4096
