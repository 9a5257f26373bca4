"""Configs, headers and reports come from strangers: none of them makes reading them fail, or take long."""

from __future__ import annotations

import json
from cProfile import Profile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slipway.api.model import ModelFacts
from slipway.models.config import model_of_config
from slipway.models.facts import Model
from slipway.models.gguf import model_of_gguf
from slipway.models.given import with_facts
from slipway.models.inspected import model_of_inspection
from slipway.models.sources import NOTHING_KNOWN, known_of

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded/families.json").read_text())["families"]
NAS_BLOCK = {"attention": {"n_heads_in_group": 2, "no_op": False}, "ffn": {"ffn_mult": 2.5, "no_op": False}}
NAS = {
    **RECORDED["llama"]["config"],
    "model_type": "nemotron-nas",
    "num_hidden_layers": 1,
    "block_configs": [NAS_BLOCK],
}
CONFIGS = [NAS, *(recorded["config"] for recorded in RECORDED.values())]
KEYS = sorted({key for config in (*CONFIGS, NAS_BLOCK, *NAS_BLOCK.values()) for key in config})
GGUF_KEYS = """
    block_count context_length embedding_length feed_forward_length attention.head_count attention.head_count_kv
    attention.key_length attention.value_length attention.sliding_window attention.sliding_window_pattern
    attention.kv_lora_rank attention.key_length_mla rope.dimension_count expert_count expert_used_count
    ssm.inner_size ssm.state_size ssm.conv_kernel ssm.group_count shortconv.l_cache full_attention_interval
    nextn_predict_layers
"""
NUMBERS = st.one_of(
    st.integers(-5, 40),
    st.integers(),
    st.floats(),
    st.sampled_from([0, 1, 2**31, 2**63, 2**200, -1, 1e308, float("nan")]),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.text(max_size=20), st.sampled_from(["full_attention", "mamba"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)),
    max_leaves=20,
)
FACTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("layers", "kv_heads", "sliding_layers", "state_layers"), st.integers(1, 10_000)),
        **dict.fromkeys(("head_dim", "latent_size", "sliding_window", "state_bytes"), st.integers(1, 100_000)),
        **dict.fromkeys(("parameters", "active_parameters", "expert_parameters"), st.integers(1_000, 10**13)),
    },
)


def sound(model: Model) -> None:
    """What every reader of a model relies on."""
    assert all(each.count > 0 for each in model.layers)
    assert all(
        min(each.kv_heads, each.key_size, each.value_size, each.latent_size, each.index_bytes) >= 0
        for each in model.layers
    )
    assert all(each.window is None or each.window > 0 for each in model.layers)
    assert model.rope_values >= 0
    assert model.weights is None or 0 < model.weights.active <= model.weights.total
    assert model.layers or "layers" in str(model.missing).lower() or model.missing


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(CONFIGS), st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_no_config_makes_it_fail(config: dict[str, Any], changed: dict[str, Any]) -> None:
    sound(model_of_config({**config, **changed}))


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES, max_size=3), st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4))
def test_no_blocks_make_it_fail(blocks: list[Any], changed: dict[str, Any]) -> None:
    sound(model_of_config({**NAS, "num_hidden_layers": len(blocks), "block_configs": blocks, **changed}))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=30) | st.sampled_from(KEYS), VALUES, max_size=20))
def test_no_object_makes_it_fail(config: dict[str, Any]) -> None:
    sound(model_of_config(config))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(
        ["llama", "gemma3", "deepseek2", "granitehybrid", "nemotron_h", "lfm2", "qwen3next", "falcon-h1", "x"]
    ),
    st.dictionaries(st.sampled_from(GGUF_KEYS.split()), SCALARS | st.lists(SCALARS, max_size=5) | st.integers(0, 64)),
)
def test_no_header_makes_it_fail(architecture: str, fields: dict[str, Any]) -> None:
    pairs = {f"{architecture}.{key}": value for key, value in fields.items()}
    sound(model_of_gguf({"general.architecture": architecture, **pairs}))


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "config": st.sampled_from(CONFIGS) | VALUES,
            "gguf": VALUES,
            "tensors": VALUES | st.dictionaries(st.sampled_from(["bytes", "parameters", "head", "experts"]), SCALARS),
            "files": SCALARS,
            "omitted": VALUES,
        },
    )
)
def test_no_report_makes_it_fail(report: dict[str, Any]) -> None:
    model = model_of_inspection(report)
    if model is not None:
        sound(model)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CONFIGS), FACTS)
def test_no_facts_make_it_fail(config: dict[str, Any], facts: dict[str, Any]) -> None:
    for model in (model_of_config(config), NOTHING_KNOWN):
        result = with_facts(model, ModelFacts(**facts))
        assert all(sentence.endswith(".") for sentence in result.problems)
        sound(result.model)


@pytest.mark.parametrize(
    "config",
    [
        {
            "model_type": "llama",
            "num_hidden_layers": 10**9,
            "hidden_size": 10**9,
            "num_attention_heads": 1,
            "vocab_size": 1,
        },
        {"model_type": "gemma3_text", "num_hidden_layers": 4096, "sliding_window": 1, "num_attention_heads": 1},
        {"model_type": "llama", "layer_types": ["full_attention"] * 1_000_000, "num_hidden_layers": 4096},
        {"model_type": "nemotron_h", "hybrid_override_pattern": "M" * 1_000_000},
        {f"key{index}": index for index in range(100_000)},
        {"text_config": {"text_config": {"text_config": {"text_config": {"text_config": {}}}}}},
    ],
)
def test_a_large_config_takes_no_more_steps_than_it_has_parts(config: dict[str, Any]) -> None:
    steps = Profile()
    steps.enable()
    model_of_config(config)
    known_of("hf://a/b", inspection={"config": config})
    steps.disable()
    calls = sum(each.callcount for each in steps.getstats())
    assert calls < 1_000_000  # a third of that, for 4,096 layers
