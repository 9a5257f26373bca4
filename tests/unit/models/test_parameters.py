"""The number of parameters that is computed from a config is the one of the model that transformers builds from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from slipway.models.catalogue import shipped
from slipway.models.config import model_of_config
from slipway.models.facts import Keeps
from slipway.models.sources import Known
from slipway.operator.planning import Plan, make_plan
from support.builders.rendering import deployment, profile

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded/families.json").read_text())["families"]


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_the_counts_are_those_of_transformers(name: str) -> None:
    recorded = RECORDED[name]
    weights = model_of_config(recorded["config"]).weights
    assert weights is not None
    parts = ("total", "embedding", "head", "experts", "encoders")
    assert {part: getattr(weights, part) for part in parts} == {part: recorded.get(part, 0) for part in parts}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_what_is_copied_to_each_device_and_what_is_used_per_token_are_parts_of_the_whole(name: str) -> None:
    weights = model_of_config(RECORDED[name]["config"]).weights
    assert weights is not None
    assert 0 < weights.active <= weights.total
    assert weights.unsplit + weights.embedding + weights.head + weights.experts + weights.encoders <= weights.total


def test_a_family_that_is_not_covered_has_no_count() -> None:
    model = model_of_config(
        {"architectures": ["XForCausalLM"], "model_type": "x", "hidden_size": 64, "vocab_size": 100}
    )
    assert model.weights is None
    assert "parameters" in model.missing


def test_a_tower_that_is_not_known_leaves_the_count_unknown() -> None:
    """The language model alone would be too small a number."""
    config = {**RECORDED["llama"]["config"], "vision_config": {"hidden_size": 1024, "model_type": "other"}}
    assert model_of_config(config).weights is None


def test_kimi_k3_is_not_counted_as_kimi_linear() -> None:
    """It has the same model type, and parts that Kimi-Linear doesn't have."""
    config = {**RECORDED["kimi_linear"]["config"], "mla_use_output_gate": True}
    assert model_of_config(config).weights is None


# --- families whose blocks differ -------------------------------------------------------------------------------------

HIDDEN, HEADS, VOCABULARY = 1024, 8, 1000


def nas(*blocks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    sizes = {"hidden_size": HIDDEN, "num_attention_heads": HEADS, "vocab_size": VOCABULARY}
    length = {"max_position_embeddings": 4096, "tie_word_embeddings": False}
    named = {"architectures": ["DeciLMForCausalLM"], "model_type": "nemotron-nas", "num_hidden_layers": len(blocks)}
    return {**named, **sizes, **length, "block_configs": list(blocks), **fields}


def block(heads_in_group: int | None, times: float | None) -> dict[str, Any]:
    attention = {"n_heads_in_group": heads_in_group, "no_op": heads_in_group is None}
    return {"attention": attention, "ffn": {"ffn_mult": times, "no_op": times is None}}


def test_each_block_of_nemotron_nas_has_its_own_sizes() -> None:
    """The first has 4 KV heads of 128 and an MLP of 2 * 1.5 * 1024 / 3 = 1024; the second no attention, and an MLP of
    1.31 * 1024 * 2 / 3 = 894, rounded up to 1024; the third 1 KV head and no MLP. Each part has a norm."""
    model = model_of_config(nas(block(2, 1.5), block(None, 1.31), block(8, None)))
    assert [(each.count, each.keeps, each.kv_heads) for each in model.layers] == [
        (1, Keeps.KEYS_AND_VALUES, 4),
        (1, Keeps.NOTHING, 0),
        (1, Keeps.KEYS_AND_VALUES, 1),
    ]
    attention = [(HEADS + 2 * groups + HEADS) * 128 * HIDDEN for groups in (4, 1)]
    mlps, norms = 2 * 3 * 1024 * HIDDEN, 5 * HIDDEN
    assert model.known_weights.total == 2 * VOCABULARY * HIDDEN + sum(attention) + mlps + norms
    assert (model.missing, model.intermediate_size) == ((), 1024)


def test_a_published_model_of_nemotron_nas_has_the_size_of_its_name() -> None:
    model = shipped().find("hf://nvidia/Llama-3_3-Nemotron-Super-49B-v1")
    assert model
    assert model.known_weights.total == 49_867_145_216
    assert [(each.count, each.kv_heads) for each in model.layers] == [(49, 8), (31, 0)]


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({"attention": {"n_heads_in_group": 2, "replace_with_linear": True}}, "layers"),
        ({"attention": {"n_heads_in_group": 2, "window_length": 100}}, "layers"),
        ({"attention": {}}, "kvHeads"),
        ({"ffn": {"replace_with_linear": True}}, "parameters"),
        ({"ffn": {}}, "parameters"),
    ],
)
def test_a_block_that_is_not_understood_leaves_the_numbers_unknown(changed: dict[str, Any], missing: str) -> None:
    model = model_of_config(nas(block(2, 1.5), {**block(2, 1.5), **changed}))
    assert missing in model.missing


def test_blocks_are_as_many_as_layers() -> None:
    assert "layers" in model_of_config(nas(block(2, 1.5), num_hidden_layers=2)).missing


def test_mimo_is_counted_as_the_model_that_it_extends_without_the_layers_that_only_a_draft_loads() -> None:
    """That is Qwen2 with a bias: 36 layers of 4096, an MLP of 11008, 8 KV heads of 128, a vocabulary of 151680."""
    model = shipped().find("hf://XiaomiMiMo/MiMo-7B-Base")
    assert model
    attention = (32 + 2 * 8) * 128 * (4096 + 1) + 4096 * 4096
    assert model.known_weights.total == 2 * 151_680 * 4096 + 36 * (attention + 3 * 4096 * 11_008 + 2 * 4096) + 4096


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        ({"model_type": "deepseek_v4", "compress_ratios": [4, 128], "index_topk": 512}, "layers"),
        ({"model_type": "minimax_m3", "sparse_attention_config": {"block_size": 64}}, "layers"),
        ({"model_type": "step3p7"}, "parameters"),
    ],
    ids=["DeepSeek-V4", "MiniMax-M3", "Step-3.7"],
)
def test_of_a_family_that_can_not_be_computed_the_fields_to_give_are_named(
    config: dict[str, Any], missing: str
) -> None:
    sizes = {"hidden_size": 4096, "num_hidden_layers": 40, "num_attention_heads": 64, "vocab_size": 1000}
    model = model_of_config({**sizes, "max_position_embeddings": 4096, "intermediate_size": 1000, **config})
    assert model.weights is None
    assert {missing, "parameters"} <= set(model.missing)
    spec = deployment(accelerator={"profiles": ["h100"]}).spec
    made = make_plan(spec, [profile("h100")], name="llama", known=Known(model))
    assert isinstance(made, Plan)
    assert all(f"spec.model.facts.{each}" in " ".join(made.why) for each in model.missing)
