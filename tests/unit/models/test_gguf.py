"""What the pairs of a GGUF header say; the numbers are worked out by hand in the comments."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.models.facts import Keeps, Layers, Model
from slipway.models.gguf import model_of_gguf


def of(architecture: str, tokens: int | None = 32_000, **fields: Any) -> Model:
    base: dict[str, Any] = {
        "block_count": 4,
        "context_length": 4096,
        "embedding_length": 256,
        "feed_forward_length": 512,
    }
    base |= {
        "attention.head_count": 8,
        "attention.head_count_kv": 2,
        **{name.replace("__", "."): fields[name] for name in fields},
    }
    pairs = {f"{architecture}.{name}": value for name, value in base.items() if value is not None}
    return model_of_gguf({"general.architecture": architecture, **pairs}, tokens=tokens)


def test_a_llama_has_heads_of_the_width_divided_by_their_number() -> None:
    model = of("llama")
    assert model.layers == (Layers(count=4, kv_heads=2, key_size=32, value_size=32),)
    assert (model.hidden_size, model.attention_heads, model.vocabulary_size) == (256, 8, 32_000)
    assert model.missing == ("parameters",)


def test_a_window_that_llama_cpp_does_not_apply_is_left_out() -> None:
    assert of("llama", attention__sliding_window=1024).layers[0].window is None


def test_gemma_3_has_its_pattern_in_llama_cpp_itself() -> None:
    layers = of("gemma3", block_count=12, attention__sliding_window=512).layers
    assert [(each.count, each.window) for each in layers] == [(10, 512), (2, None)]


def test_a_pattern_may_be_in_the_file() -> None:
    pattern = [True, True, False, True]
    layers = of("gemma4", attention__sliding_window=512, attention__sliding_window_pattern=pattern).layers
    assert [(each.count, each.window) for each in layers] == [(3, 512), (1, None)]


def test_a_window_without_a_known_pattern_is_unclear() -> None:
    model = of("new-one", attention__sliding_window=512)
    assert not model.layers
    assert "slidingLayers" in model.missing


def test_heads_may_differ_from_layer_to_layer() -> None:
    layers = of(
        "openelm",
        attention__head_count=[4, 4, 8, 8],
        attention__head_count_kv=[1, 1, 2, 2],
        attention__key_length=64,
        attention__value_length=64,
    ).layers
    assert [(each.count, each.kv_heads) for each in layers] == [(2, 1), (2, 2)]


def test_deepseek_keeps_a_latent() -> None:
    # 512 + 64 values; a key of 192 has 128 without its rotary part.
    mla = {"attention__key_length_mla": 192, "attention__value_length_mla": 128, "attention__kv_lora_rank": 512}
    (layers,) = of("deepseek2", rope__dimension_count=64, **mla).layers
    assert (layers.keeps, layers.latent_size, layers.key_size, layers.value_size) == (Keeps.LATENT, 576, 128, 128)


def test_an_old_file_of_deepseek_keeps_keys_and_values() -> None:
    (layers,) = of("deepseek2", attention__key_length=192, attention__value_length=128).layers
    assert (layers.kv_heads, layers.key_size, layers.value_size) == (2, 192, 128)


def test_layers_without_heads_have_a_state() -> None:
    # Mamba-2: (512 + 2 · 1 · 128) · 3 + 512 · 128 values of 32 bits.
    ssm = {"ssm__inner_size": 512, "ssm__state_size": 128, "ssm__conv_kernel": 4, "ssm__group_count": 1}
    state, attention = of("granitehybrid", attention__head_count_kv=[0, 0, 0, 2], **ssm).layers
    assert (state.count, state.state_32_bit) == (3, 768 * 3 + 512 * 128)
    assert (attention.count, attention.kv_heads) == (1, 2)


def test_nemotron_h_has_layers_with_an_mlp_alone() -> None:
    ssm = {"ssm__inner_size": 512, "ssm__state_size": 128, "ssm__conv_kernel": 4, "ssm__group_count": 8}
    arrays: dict[str, Any] = {"attention__head_count_kv": [0, 0, 2, 0], "feed_forward_length": [0, 512, 0, 512]}
    layers = of("nemotron_h", **arrays, **ssm).layers
    assert [(each.keeps, each.count) for each in layers] == [
        (Keeps.STATE, 1),
        (Keeps.NOTHING, 2),
        (Keeps.KEYS_AND_VALUES, 1),
    ]


def test_lfm2_has_short_convolutions() -> None:
    state, attention = of("lfm2", attention__head_count_kv=[0, 0, 2, 2], shortconv__l_cache=3).layers
    assert (state.count, state.state_32_bit, attention.count) == (2, 512, 2)


def test_qwen3_next_has_attention_in_each_fourth_layer() -> None:
    ssm = {"ssm__inner_size": 512, "ssm__state_size": 128, "ssm__conv_kernel": 4, "ssm__group_count": 2}
    state, attention = of("qwen3next", **ssm).layers
    assert (state.count, attention.count) == (3, 1)


def test_experts() -> None:
    experts = {
        "expert_count": 8,
        "expert_used_count": 2,
        "expert_feed_forward_length": 128,
        "leading_dense_block_count": 1,
    }
    found = of("qwen3moe", **experts).experts
    assert found is not None
    assert (found.count, found.per_token, found.intermediate_size, found.layers) == (8, 2, 128, 3)


def test_layers_for_speculative_decoding_do_not_count() -> None:
    assert of("glm4moe", nextn_predict_layers=1).layer_count == 3


@pytest.mark.parametrize("architecture", ["bert", "nomic-bert"])
def test_encoders_keep_nothing(architecture: str) -> None:
    model = of(architecture)
    assert model.layers == (Layers(count=4, keeps=Keeps.NOTHING),)
    assert model.task == "Embed"


def test_a_model_with_pooling_embeds() -> None:
    assert of("qwen3", pooling_type=3).task == "Embed"


@pytest.mark.parametrize("hint", ["ssm__state_size", "wkv__head_size", "attention__kv_lora_rank"])
def test_an_unknown_architecture_with_another_kind_of_memory_is_unclear(hint: str) -> None:
    model = of("new-one", **{hint: 64})
    assert not model.layers
    assert "layers" in model.missing


def test_nothing_is_known_of_no_pairs() -> None:
    model = model_of_gguf({})
    assert not model.layers
    assert {"parameters", "layers", "hiddenSize", "contextLength", "vocabularySize"} <= set(model.missing)
