"""What a config.json says of layers that keep a latent vector or a state, for published models; worked out by hand."""

from __future__ import annotations

import pytest
from slipway.models.facts import Keeps
from support.builders.configs import known, of_class

# --- latent attention ------------------------------------------------------------------------------------------------


def test_deepseek_v2_lite_stores_one_vector_of_576_values() -> None:
    # kv_lora_rank 512 + qk_rope_head_dim 64. The first layer is dense; 64 experts in the other 26, 6 of them per token.
    model = known("deepseek-ai/DeepSeek-V2-Lite")
    (layers,) = model.layers
    assert (layers.keeps, layers.count, layers.latent_size, layers.values_per_token) == (Keeps.LATENT, 27, 576, 576)
    assert (layers.key_size, layers.value_size) == (128, 128)
    assert model.rope_values == 4096 * 40 * 64
    assert model.experts is not None
    assert (model.experts.count, model.experts.per_token, model.experts.layers) == (64, 6, 26)
    assert model.weights is not None
    assert model.weights.total == 15_706_484_224
    assert model.weights.active == 15_706_484_224 - 26 * 58 * 3 * 2048 * 1408


def test_deepseek_v3_2_has_an_index_besides() -> None:
    # A key of 128 values of one byte, and one scale of 4 bytes.
    (layers,) = known("deepseek-ai/DeepSeek-V3.2").layers
    assert (layers.count, layers.latent_size, layers.index_bytes) == (61, 576, 132)


def test_glm_5_2_has_an_index_in_some_layers_only() -> None:
    indexed, sharing = known("zai-org/GLM-5.2").layers
    assert (indexed.count, indexed.index_bytes) == (21, 132)
    assert (sharing.count, sharing.index_bytes) == (57, 0)


def test_latent_attention_without_a_rank_is_unclear() -> None:
    model = of_class("deepseek_v3", kv_lora_rank=None)
    assert not model.layers
    assert "latentSize" in model.missing


def test_an_unknown_family_with_latent_attention_is_not_taken_for_a_plain_one() -> None:
    model = of_class("something", kv_lora_rank=512, qk_rope_head_dim=64)
    assert not model.layers
    assert model.missing


# --- states ----------------------------------------------------------------------------------------------------------


def test_qwen3_next_keeps_a_state_in_three_of_four_layers() -> None:
    # Convolution: (2 · 16 · 128 + 32 · 128) · 3 = 24,576. Recurrent: 32 · 128 · 128 = 524,288, in the model's own type.
    state, attention = known("Qwen/Qwen3-Next-80B-A3B-Instruct").layers
    assert (state.keeps, state.count, state.state_16_bit, state.state_32_bit) == (Keeps.STATE, 36, 24_576 + 524_288, 0)
    assert (attention.count, attention.kv_heads, attention.key_size) == (12, 2, 256)


def test_qwen3_5_has_its_recurrent_state_in_32_bits() -> None:
    state = known("Qwen/Qwen3.5-35B-A3B").layers[0]
    assert (state.count, state.state_16_bit, state.state_32_bit) == (30, 24_576, 524_288)


def test_nemotron_h_has_a_letter_for_each_layer() -> None:
    # Mamba-2 with 256 heads of 64, 8 groups, a state of 256: (16384 + 2 · 8 · 256) · 3 and 256 · 64 · 256 values.
    model = known("nvidia/Nemotron-H-56B-Base-8K")
    assert [(each.keeps, each.count) for each in model.layers] == [
        (Keeps.STATE, 54),
        (Keeps.NOTHING, 54),
        (Keeps.KEYS_AND_VALUES, 10),
    ]
    state = model.layers[0]
    assert (state.state_16_bit, state.state_32_bit) == ((16384 + 4096) * 3, 256 * 64 * 256)


def test_nemotron_3_ultra_has_a_list_of_layers_and_no_number_of_them() -> None:
    model = known("nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-BF16")
    assert model.layer_count == sum(each.count for each in model.layers) == 108
    assert model.experts is not None
    assert model.experts.layers == sum(each.count for each in model.layers if each.keeps is Keeps.NOTHING)


@pytest.mark.parametrize("name", ["mamba", "linear_attention"])
def test_granite_4_by_either_name_of_its_layers(name: str) -> None:
    # 48 heads of 64 and a state of 128 in one group: (3072 + 2 · 128) · 3 + 48 · 64 · 128 values of 16 bits.
    mamba = {"mamba_n_heads": 48, "mamba_d_head": 64, "mamba_d_state": 128, "mamba_n_groups": 1, "mamba_d_conv": 4}
    types = [*[name] * 3, "attention"]
    state, attention = of_class("granitemoehybrid", layer_types=types, num_local_experts=0, **mamba).layers
    assert (state.count, state.state_16_bit) == (3, (3072 + 256) * 3 + 48 * 64 * 128)
    assert (attention.count, attention.kv_heads) == (1, 2)


def test_jamba_has_attention_in_each_eighth_layer() -> None:
    # Mamba-1: 2 · 256 channels; a convolution over 4, and a state of 16.
    state, attention = of_class("jamba", num_hidden_layers=16).layers
    assert (state.count, state.state_16_bit) == (14, 512 * 3 + 512 * 16)
    assert attention.count == 2


def test_falcon_h1_has_both_in_each_layer() -> None:
    mamba = {"mamba_d_ssm": 512, "mamba_n_heads": 8, "mamba_d_head": 64, "mamba_d_state": 128, "mamba_n_groups": 1}
    (both,) = of_class("falcon_h1", **mamba).layers
    assert (both.count, both.kv_heads, both.state_16_bit) == (4, 2, (512 + 256) * 3 + 8 * 64 * 128)


def test_lfm2_has_short_convolutions() -> None:
    # Three tokens of 2048 values, of which the last two are kept.
    convolution, attention = known("LiquidAI/LFM2-1.2B").layers
    assert (convolution.count, convolution.state_16_bit) == (10, 2048 * 2)
    assert (attention.count, attention.kv_heads, attention.key_size) == (6, 8, 64)


def test_kimi_linear_counts_its_layers_from_one() -> None:
    linear = {
        "kda_layers": [1, 2, 3],
        "full_attn_layers": [4],
        "num_heads": 8,
        "head_dim": 32,
        "short_conv_kernel_size": 4,
    }
    latent = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
    state, attention = of_class("kimi_linear", linear_attn_config=linear, **latent).layers
    assert (state.count, state.state_16_bit, state.state_32_bit) == (3, 3 * 8 * 32 * 3, 8 * 32 * 32)
    assert (attention.count, attention.latent_size) == (1, 576)


def test_minimax_01_has_its_kinds_as_numbers() -> None:
    state, attention = of_class("minimax", attn_type_list=[0, 0, 0, 1], head_dim=32).layers
    assert (state.count, state.state_32_bit) == (3, 8 * 32 * 32)
    assert attention.count == 1


def test_an_unknown_kind_of_layer_makes_all_unclear() -> None:
    model = of_class("llama", layer_types=["full_attention", "full_attention", "wave", "full_attention"])
    assert not model.layers
    assert "layers" in model.missing
