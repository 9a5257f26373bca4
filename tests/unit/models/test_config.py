"""What a config.json says, for published models; the numbers are worked out by hand in the comments."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.models.config import model_of_config
from slipway.models.facts import Evidence, Keeps, Layers, Quantization
from support.builders.configs import LLAMA_3_1_8B, known, of_class

# --- attention -------------------------------------------------------------------------------------------------------


def test_llama_3_1_8b() -> None:
    # A layer: q and o 2 · 4096², k and v 2 · 1024 · 4096, MLP 3 · 4096 · 14336, norms 2 · 4096: 218,112,000.
    # 32 of them, two tables of 128256 · 4096 = 525,336,576, and a norm: 8,030,261,248.
    # Rotary tables: 131072 positions of 128 values; llama3's scaling doesn't lengthen them.
    model = model_of_config(LLAMA_3_1_8B)
    assert model.layers == (Layers(count=32, kv_heads=8, key_size=128, value_size=128),)
    assert model.weights is not None
    assert model.weights.total == 32 * 218_112_000 + 2 * 525_336_576 + 4096 == 8_030_261_248
    assert (model.weights.embedding, model.weights.head) == (525_336_576, 525_336_576)
    assert model.weights.unsplit == 65 * 4096
    assert (model.context_length, model.longest_context) == (131_072, 131_072)
    assert model.rope_values == 131_072 * 128
    assert model.evidence["layers"] is Evidence.EXACT
    assert not model.missing


def test_qwen2_5_14b_has_no_window_though_its_class_has_one_by_default() -> None:
    # 40 heads of 5120 / 40 = 128; q, k and v have biases: 5120 + 2 · 1024.
    model = known("Qwen/Qwen2.5-14B-Instruct")
    assert model.layers == (Layers(count=48, kv_heads=8, key_size=128, value_size=128),)
    assert model.context_length == 32_768
    layer = 2 * 5120 * 5120 + 2 * 1024 * 5120 + 5120 + 2048 + 3 * 5120 * 13824 + 2 * 5120
    assert model.weights is not None
    assert model.weights.total == 48 * layer + 2 * 152064 * 5120 + 5120 == 14_770_033_664


def test_mistral_7b_with_a_window_has_it_in_all_layers() -> None:
    assert of_class("mistral", sliding_window=4096).layers[0].window == 4096
    assert of_class("mistral", sliding_window=None).layers[0].window is None


PARAMS = {
    "dim": 4096,
    "n_layers": 32,
    "head_dim": 128,
    "hidden_dim": 14336,
    "n_heads": 32,
    "n_kv_heads": 8,
    "norm_eps": 1e-05,
    "vocab_size": 32768,
    "rope_theta": 1000000.0,
}


def test_a_mistral_in_its_own_format_is_the_same_model() -> None:
    model = model_of_config(PARAMS | {"max_position_embeddings": 32768, "architectures": ["MistralForCausalLM"]})
    of_hub = {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "head_dim": 128,
        "intermediate_size": 14336,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32768,
        "rope_theta": 1000000.0,
        "max_position_embeddings": 32768,
        "sliding_window": None,
    }
    assert model == model_of_config(of_hub)
    assert not model.missing


def test_without_a_length_it_has_that_of_vllm() -> None:
    assert model_of_config(PARAMS).context_length == 128_000


def test_windows_of_its_format_are_repeated_over_the_layers() -> None:
    windows = [None, 32768, 32768, 32768]
    layers = model_of_config(PARAMS | {"sliding_window": windows, "n_layers": 36}).layers
    assert sorted((each.count, each.window) for each in layers if each.window) == [(27, 32768)]
    assert sum(each.count for each in layers) == 36


def test_its_mixtures_of_experts_and_its_quantization_are_read() -> None:
    model = model_of_config(PARAMS | {"moe": {"num_experts": 8, "num_experts_per_tok": 2}})
    assert model.experts
    assert (model.experts.count, model.experts.per_token, model.experts.layers) == (8, 2, 32)
    latent = {"q_lora_rank": 1536, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "kv_lora_rank": 512}
    experts = {"num_experts": 128, "num_experts_per_tok": 4, "num_shared_experts": 1, "expert_hidden_dim": 4096}
    of_dense = {"first_k_dense_replace": 3, "route_every_n": 1}
    quantized = {"quantization": {"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"}}
    large = model_of_config(PARAMS | latent | quantized | {"v_head_dim": 128, "moe": {**experts, **of_dense}})
    assert [layer.latent_size for layer in large.layers] == [576]
    assert large.experts
    assert (large.experts.count, large.experts.per_token, large.experts.layers) == (128, 4, 29)
    assert large.quantization
    assert large.quantization.bits == 8


def test_parameters_of_its_encoders_are_unknown() -> None:
    vision = {"hidden_size": 1024, "num_hidden_layers": 24, "image_size": 1024}
    for field in ({"vision_encoder": vision}, {"multimodal": {"vision_encoder_args": vision}}):
        assert model_of_config(PARAMS | field).missing == ("parameters",)


def test_gemma_3_12b_has_five_local_layers_for_each_global_one() -> None:
    # 48 layers: 8 global ones. Two rotary tables of 256 columns: the local one has 131,072 rows, that of the global
    # layers 8 times as many, since linear scaling multiplies them. The length includes the scaling already.
    model = known("google/gemma-3-12b-it")
    assert [(each.count, each.window) for each in model.layers] == [(40, 1024), (8, None)]
    assert {(each.kv_heads, each.key_size) for each in model.layers} == {(8, 256)}
    assert model.rope_values == (8 + 1) * 131_072 * 256
    assert model.context_length == 131_072
    assert model.weights is not None
    assert (model.weights.head, model.weights.encoders) == (0, 421_290_864)


def test_gemma_2_alternates() -> None:
    assert [(each.count, each.window) for each in known("google/gemma-2-9b-it").layers] == [(21, 4096), (21, None)]


def test_gemma_4_has_larger_heads_in_global_layers() -> None:
    # 30 layers, each sixth global, with 2 heads of 512 instead of 8 of 256.
    local, everything = known("google/gemma-4-26B-A4B").layers
    assert (local.count, local.kv_heads, local.key_size, local.window) == (25, 8, 256, 1024)
    assert (everything.count, everything.kv_heads, everything.key_size, everything.window) == (5, 2, 512, None)


def test_layers_that_read_the_keys_of_earlier_ones_keep_nothing() -> None:
    model = of_class("gemma3n_text", num_hidden_layers=10, num_kv_shared_layers=4, sliding_window=512)
    assert sum(each.count for each in model.layers if each.keeps is Keeps.NOTHING) == 4


def test_gpt_oss_alternates_and_quantizes_its_experts_alone() -> None:
    # 32 experts of 3 · 2880² with biases of 2 · 2880 + 2880: 24 layers, 19,116,933,120 parameters in 4 bits.
    model = known("openai/gpt-oss-20b")
    assert [(each.count, each.window, each.kv_heads, each.key_size) for each in model.layers] == [
        (12, 128, 8, 64),
        (12, None, 8, 64),
    ]
    assert model.quantization == Quantization(method="mxfp4", bits=4.0, group_size=32, only_experts=True)
    assert model.weights is not None
    assert model.weights.experts == 24 * 32 * (3 * 2880 * 2880 + 3 * 2880) == 19_116_933_120


def test_llama_4_sees_a_chunk_but_for_each_fourth_layer() -> None:
    layers = known("meta-llama/Llama-4-Scout-17B-16E-Instruct").layers
    assert [(each.count, each.window) for each in layers] == [(36, 8192), (12, None)]


def test_cohere_2_has_a_window_of_one_token_more_in_vllm() -> None:
    layers = of_class("cohere2", num_hidden_layers=8, sliding_window=4096).layers
    assert [(each.count, each.window) for each in layers] == [(6, 4097), (2, None)]


def test_exaone_4_has_its_pattern_in_letters() -> None:
    layers = of_class("exaone4", num_hidden_layers=8, sliding_window=4096, sliding_window_pattern="LLLG").layers
    assert [(each.count, each.window) for each in layers] == [(6, 4096), (2, None)]


def test_mimo_v2_has_other_heads_in_layers_with_a_window() -> None:
    everything, local = known("XiaomiMiMo/MiMo-V2-Flash").layers
    assert (everything.count, everything.kv_heads, everything.key_size, everything.value_size) == (9, 4, 192, 128)
    assert (local.count, local.kv_heads, local.window) == (39, 8, 128)


def test_a_window_without_a_size_is_not_taken_for_full_attention() -> None:
    model = of_class("gemma2", sliding_window=None)
    assert not model.layers
    assert "slidingWindow" in model.missing


# --- lengths ---------------------------------------------------------------------------------------------------------


def test_phi_4_mini_starts_with_the_length_before_its_scaling() -> None:
    # Rotary tables: 4,096 rows for short and 131,072 for long requests, of 3/4 of 128 columns.
    model = known("microsoft/Phi-4-mini-instruct")
    assert (model.context_length, model.longest_context) == (4096, 131_072)
    assert model.rope_values == (4096 + 131_072) * 96


def test_yarn_leaves_the_length_and_linear_scaling_multiplies_it() -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}
    assert of_class("qwen3", rope_scaling=yarn).context_length == 4096
    assert of_class("llama", rope_scaling={"type": "linear", "factor": 2.0}).context_length == 8192


def test_positions_in_three_dimensions_have_a_table_four_times_as_long() -> None:
    assert known("Qwen/Qwen2.5-VL-7B-Instruct").rope_values == 4 * 128_000 * 128


def test_a_dense_model_without_a_length_lacks_it() -> None:
    assert "contextLength" in of_class("stablelm", max_position_embeddings=None).missing


# --- encoders --------------------------------------------------------------------------------------------------------


def test_bge_large_is_an_encoder_of_24_layers_that_keep_nothing() -> None:
    # Layer: 4 · (1024² + 1024) + 2 · 1024 · 4096 + 4096 + 1024 + 4 · 1024 = 12,596,224. Tables: 31036 · 1024.
    # With the norm after the tables and the pooler: 335,141,888.
    config = {"model_type": "bert", "architectures": ["BertModel"], "vocab_size": 30522, "type_vocab_size": 2}
    sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    model = model_of_config({**config, **sizes, "max_position_embeddings": 512, "torch_dtype": "float32"})
    assert model.layers == (Layers(count=24, keeps=Keeps.NOTHING),)
    assert model.task == "Embed"
    assert model.dtype == "float32"
    assert model.weights is not None
    assert model.weights.total == 24 * 12_596_224 + (30522 + 514) * 1024 + 2048 + 1024 * 1025 == 335_141_888
    assert not model.missing


def test_a_reranker_has_one_label_and_two_positions_fewer() -> None:
    config = {"architectures": ["XLMRobertaForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    model = of_class("xlm-roberta", max_position_embeddings=8194, type_vocab_size=1, **config)
    assert model.task == "Rerank"
    assert model.context_length == 8192


def test_qwen3_embedding_is_one_by_its_entry_and_keeps_keys_and_values() -> None:
    model = known("Qwen/Qwen3-Embedding-8B")
    assert model.task == "Embed"
    assert model.layers[0].kv_heads == 8


# --- experts, quantization -------------------------------------------------------------------------------------------


def test_mixtral_8x7b_uses_two_of_eight_experts() -> None:
    # An expert: 3 · 4096 · 14336 = 176,160,768; 8 in each of 32 layers, of which 6 are idle.
    model = known("mistralai/Mixtral-8x7B-v0.1")
    assert model.weights is not None
    assert model.weights.total == 46_702_792_704
    assert model.weights.total - model.weights.active == 32 * 6 * 176_160_768


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, ("fp8", 8.0, 16384)),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, ("awq", 4.0, 128)),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, ("awq", 4.0, 64)),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, ("gptq", 8.0, None)),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 32}}},
            },
            ("compressed-tensors", 4.0, 32),
        ),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, ("modelopt", 4.0, 16)),
        ({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}}, ("fp8", 8.0, None)),
        ({"quant_method": "mxfp4"}, ("mxfp4", 4.0, 32)),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, ("bitsandbytes", 4.0, None)),
    ],
)
def test_how_a_checkpoint_is_quantized(told: dict[str, Any], expected: tuple[str, float, int | None]) -> None:
    found = model_of_config({**LLAMA_3_1_8B, "quantization_config": told}).quantization
    assert found is not None
    assert (found.method, found.bits, found.group_size) == expected


GROUP_4 = {"num_bits": 4, "type": "float", "group_size": 16}
GROUP_8 = {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [128, 128]}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, ("fp8", 128)),
        ({"quant_method": "fbgemm_fp8"}, ("fp8", None)),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, ("fp8", None)),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}, ("nvfp4", None)),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": GROUP_4}}}, ("nvfp4", None)),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": GROUP_8}}}, ("fp8", 128)),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8}}}},
            ("int8", None),
        ),
        ({"quant_method": "mxfp4"}, ("mxfp4", None)),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, ("int4", 128)),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, ("int8", None)),
        ({"quant_method": "gptq", "bits": 3, "group_size": 128}, ("", None)),
    ],
)
def test_the_format_of_weights_and_what_must_stay_together(told: dict[str, Any], expected: tuple[str, int]) -> None:
    found = model_of_config({**LLAMA_3_1_8B, "quantization_config": told}).quantization
    assert found is not None
    assert (found.format, found.edge) == expected


def test_attention_that_is_spared_layer_by_layer_is_found() -> None:
    """NVFP4 checkpoints of mixtures of experts name each layer's attention among what stays in 16 bits."""
    quantization = known("nvidia/GLM-5.2-NVFP4").quantization
    assert quantization is not None
    assert quantization.only_experts


def test_names_of_the_same_number_replace_the_default_of_another() -> None:
    """Kimi's config has num_experts, while the default of its class is of num_local_experts."""
    model = of_class("kimi_linear", num_experts=96, num_experts_per_token=4, linear_attn_config={})
    assert model.experts is None or model.experts.count == 96
