"""How llama.cpp divides the memory of a container."""

from __future__ import annotations

from dataclasses import replace

from slipway.operator.planning.memory.llamacpp import cache_bytes, divide
from slipway.operator.planning.memory.settings import GIB, Device, Settings
from support.builders.models import LLAMA_8B, attention

SETTINGS = Settings(sequences=1, batched_tokens=512)


def test_layers_with_attention_and_a_state_keep_both() -> None:
    """512 tokens of 4 KiB, and a state of 1,000 values in 32 bits."""
    both = replace(LLAMA_8B, layers=(attention(2, state_16_bit=1000),))
    assert cache_bytes(both, SETTINGS, context_length=512, slots=3) == 3 * 2 * (512 * 4096 + 4 * 1000)


def test_a_larger_step_takes_more_memory_in_proportion() -> None:
    def step(tokens: int) -> int:
        settings = replace(SETTINGS, batched_tokens=tokens)
        return divide(LLAMA_8B, Device(total=64 * GIB), settings, context_length=512, slots=1).activation

    assert step(2048) == 4 * step(512)
