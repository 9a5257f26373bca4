"""The number of parameters that is computed from a config is the one of the model that transformers builds from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from slipway.models.config import model_of_config

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
