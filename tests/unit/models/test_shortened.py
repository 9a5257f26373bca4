"""What is left of a config.json is short, and says the same about the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from slipway.models.config import model_of_config
from slipway.models.shortened import shortened
from support.builders.configs import LLAMA_3_1_8B

FAMILIES: dict[str, Any] = json.loads((Path(__file__).parent / "recorded/families.json").read_text())["families"]


@pytest.mark.parametrize("name", FAMILIES)
def test_it_is_the_same_model(name: str) -> None:
    config = FAMILIES[name]["config"]
    assert model_of_config(shortened(config)) == model_of_config(config)


def test_what_no_memory_depends_on_is_left_out() -> None:
    long = {
        "id2label": {"0": "a"},
        "text": "a" * 101,
        "list": [0] * 513,
        "huge": 1 << 64,
        "infinite": float("inf"),
        "a" * 101: 1,
        "hybrid_override_pattern": "M" * 200,
        "quantization_config": {"ignore": [f"layer.{number}" for number in range(100)], "bits": 4},
        "text_config": {"label2id": {}, "hidden_size": 8},
    }
    assert shortened(LLAMA_3_1_8B | long) == LLAMA_3_1_8B | {
        "hybrid_override_pattern": "M" * 200,
        "quantization_config": {"ignore": [f"layer.{number}" for number in range(64)], "bits": 4},
        "text_config": {"hidden_size": 8},
    }


def test_what_is_deeper_than_a_config_is_left_out() -> None:
    deep: Any = {}
    for _ in range(100):
        deep = {"a": deep}
    assert len(json.dumps(shortened({"deep": deep}))) < 100
