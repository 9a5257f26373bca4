"""The sums of a model's tensors follow their names, as checkpoints on the hub and llama.cpp's files have them."""

from __future__ import annotations

import pytest
from slipway_runtime.models.gguf import GgufTensor
from slipway_runtime.models.safetensors import Tensor
from slipway_runtime.models.tensors import LONGEST_NAME, MOST_DTYPES, Part, part_of_checkpoint, part_of_gguf, sums_of

CHECKPOINTS = {
    "model.embed_tokens.weight": Part.EMBEDDING,
    "transformer.wte.weight": Part.EMBEDDING,  # GPT-2
    "transformer.word_embeddings.weight": Part.EMBEDDING,  # Falcon
    "gpt_neox.embed_in.weight": Part.EMBEDDING,
    "backbone.embeddings.weight": Part.EMBEDDING,  # Mamba
    "tok_embeddings.weight": Part.EMBEDDING,  # Mistral's own names
    "language_model.model.embed_tokens.weight": Part.EMBEDDING,
    "embeddings.word_embeddings.weight": Part.EMBEDDING,  # BERT
    "embeddings.position_embeddings.weight": Part.REST,
    "embeddings.LayerNorm.weight": Part.REST,
    "model.language_model.embed_tokens_per_layer.weight": Part.REST,  # Gemma 3n
    "lm_head.weight": Part.HEAD,
    "language_model.lm_head.weight": Part.HEAD,
    "lm_head.qweight": Part.HEAD,
    "embed_out.weight": Part.HEAD,
    "output.weight": Part.HEAD,
    "language_model.output.weight": Part.HEAD,  # InternLM 2
    "encoder.layer.0.attention.output.dense.weight": Part.REST,
    "model.layers.0.mlp.experts.3.gate_proj.weight": Part.EXPERTS,
    "model.layers.0.mlp.experts.gate_up_proj_blocks": Part.EXPERTS,  # gpt-oss
    "model.layers.0.block_sparse_moe.experts.0.w1.weight": Part.EXPERTS,  # Mixtral
    "model.layers.0.block_sparse_moe.input_linear.weight": Part.EXPERTS,  # Granite
    "model.layers.0.mlp.shared_experts.gate_proj.weight": Part.REST,
    "model.layers.0.mlp.shared_expert.gate_proj.weight": Part.REST,
    "model.layers.0.mlp.gate.weight": Part.REST,
    "model.layers.1.self_attn.q_proj.weight": Part.REST,
    "model.layers.2.embed_tokens.weight": Part.DRAFTS,  # DeepSeek: layers from num_hidden_layers on
    "model.layers.2.mlp.experts.3.gate_proj.weight": Part.DRAFTS,
    "mtp.layers.0.mlp.down_proj.weight": Part.DRAFTS,  # Qwen 3 Next
    "model.mtp_layers.0.mlp.down_proj.weight": Part.DRAFTS,
    "vision_tower.vision_model.encoder.layers.26.mlp.fc1.weight": Part.ENCODERS,
    "visual.blocks.31.attn.qkv.weight": Part.ENCODERS,  # Qwen-VL
    "model.visual.merger.mlp.0.weight": Part.ENCODERS,
    "thinker.audio_tower.layers.30.fc1.weight": Part.ENCODERS,
    "multi_modal_projector.linear_1.weight": Part.ENCODERS,
    "mm_projector.0.weight": Part.ENCODERS,
    "model.embed_vision.embedding.weight": Part.ENCODERS,
    "vision_language_adapter.w_in.weight": Part.ENCODERS,
    "mlp1.1.weight": Part.ENCODERS,  # InternVL
    "model.layers.0.self_attn.vision_expert_query_key_value.weight": Part.REST,  # CogVLM: of the language model
    "": Part.REST,
}


@pytest.mark.parametrize(("name", "part"), CHECKPOINTS.items(), ids=[*CHECKPOINTS])
def test_the_name_of_a_checkpoints_tensor_says_which_part_it_belongs_to(name: str, part: Part) -> None:
    assert part_of_checkpoint(layers=2)(name) is part


GGUF = {
    "token_embd.weight": Part.EMBEDDING,
    "per_layer_token_embd.weight": Part.REST,
    "output.weight": Part.HEAD,
    "output_norm.weight": Part.REST,
    "blk.10.ffn_gate_exps.weight": Part.EXPERTS,
    "blk.0.ffn_gate_up_exps.weight": Part.EXPERTS,
    "blk.0.ffn_gate_inp.weight": Part.REST,
    "blk.0.ffn_up_shexp.weight": Part.REST,
    "blk.0.attn_q.weight": Part.REST,
}


@pytest.mark.parametrize(("name", "part"), GGUF.items(), ids=[*GGUF])
def test_so_does_the_name_of_a_gguf_tensor(name: str, part: Part) -> None:
    assert part_of_gguf(name) is part


def test_drafts_are_in_no_other_sum() -> None:
    tensors = {
        "model.embed_tokens.weight": Tensor("BF16", 100, 200),
        "model.layers.0.mlp.experts.0.w1.weight": Tensor("F8_E4M3", 30, 30),
        "visual.patch_embed.weight": Tensor("BF16", 5, 10),
        "model.layers.1.mlp.experts.0.w1.weight": Tensor("I8", 7, 7),
    }
    of_each = ((name, each.dtype, each) for name, each in tensors.items())
    assert sums_of(of_each, part_of_checkpoint(layers=1)).as_json() == {
        "bytes": 240,
        "parameters": 135,
        "embedding": 100,
        "head": 0,
        "experts": 30,
        "experts_bytes": 30,
        "encoders": 5,
        "encoders_bytes": 10,
        "drafts": 7,
        "by_dtype": {"BF16": 210, "F8_E4M3": 30},
    }


def test_sizes_are_left_out_where_that_of_a_type_is_unknown() -> None:
    tensors = [("output.weight", "99", GgufTensor("99", 10, None)), ("a", "F32", GgufTensor("F32", 1, 4))]
    sums = sums_of(tensors, part_of_gguf).as_json()
    assert sums == {"parameters": 11, "embedding": 0, "head": 10, "experts": 0, "encoders": 0}


def test_names_of_types_are_the_files_own_so_that_only_the_most_frequent_are_listed() -> None:
    tensors = [("a", f"T{number}", Tensor(f"T{number}", 1, number)) for number in range(100)]
    by_dtype = sums_of(tensors, part_of_checkpoint(None)).as_json()["by_dtype"]
    assert isinstance(by_dtype, dict)
    assert len(by_dtype) == MOST_DTYPES + 1
    assert sum(by_dtype.values()) == sum(range(100))


def test_no_more_of_a_name_is_read_than_any_models_has() -> None:
    name = "x" * LONGEST_NAME + ".experts.0.weight"
    assert sums_of([(name, "F32", Tensor("F32", 1, 4))], part_of_checkpoint(None)).as_json()["experts"] == 0
