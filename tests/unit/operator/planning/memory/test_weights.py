"""How many bytes of weights are on the device that has the most."""

from __future__ import annotations

from dataclasses import replace

import pytest
from slipway.models.facts import Layers
from slipway.operator.planning.memory.settings import Settings
from slipway.operator.planning.memory.weights import on_each_device
from support.builders.models import DEEPSEEK_LITE, LLAMA_8B

# Each layer: 16 heads, which expand 512 values into 128 of keys and 128 of values.
EXPANDING = 16 * 512 * (128 + 128)
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


@pytest.mark.parametrize(("tensor", "pipeline", "layers"), [(1, 1, 27), (4, 1, 27), (1, 3, 9), (2, 2, 14)])
def test_a_device_has_the_expanding_matrices_of_its_own_layers_a_second_time(
    tensor: int, pipeline: int, layers: int
) -> None:
    """DeepSeek-V2-Lite has 27 layers; the rotary part of its latent vectors isn't expanded."""
    without = replace(DEEPSEEK_LITE, layers=(Layers(count=27, kv_heads=16),))
    run = replace(SETTINGS, tensor=tensor, pipeline=pipeline)
    more = on_each_device(DEEPSEEK_LITE, run) - on_each_device(without, run)
    assert more == 2 * layers * EXPANDING // tensor
