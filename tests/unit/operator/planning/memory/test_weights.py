"""How many bytes of weights are on the device that has the most."""

from __future__ import annotations

from dataclasses import replace

from slipway.operator.planning.memory.settings import Settings
from slipway.operator.planning.memory.weights import on_each_device
from support.builders.models import LLAMA_8B

SETTINGS = Settings(sequences=256, batched_tokens=2048)
PLAIN = replace(LLAMA_8B, rope_values=0)
TABLE, LAYER = 525_336_576, (8_030_261_248 - 2 * 525_336_576) // 32  # parameters


def test_a_stage_at_an_end_has_a_table_besides_its_layers() -> None:
    assert on_each_device(PLAIN, replace(SETTINGS, pipeline=2)) == 2 * (16 * LAYER + TABLE)
    assert on_each_device(PLAIN, replace(SETTINGS, pipeline=2, tensor=2)) == 16 * LAYER + TABLE


def test_the_largest_stage_has_the_layers_that_are_left_over() -> None:
    """32 layers in 3 stages: 11 in the largest."""
    assert abs(on_each_device(PLAIN, replace(SETTINGS, pipeline=3)) - 2 * (11 * LAYER + TABLE)) < 100


def test_an_output_layer_that_is_the_embedding_is_copied_to_the_last_stage() -> None:
    weights = replace(PLAIN.known_weights, total=PLAIN.known_weights.total - TABLE, head=0)
    assert on_each_device(replace(PLAIN, weights=weights), replace(SETTINGS, pipeline=2)) == 2 * (16 * LAYER + TABLE)
