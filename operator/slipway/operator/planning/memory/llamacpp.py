"""How llama.cpp divides the memory of a container. Pure.

It maps the file of the weights, and reserves the KV cache of all slots and the buffers of a step when it starts, so a
model that has started doesn't run out of memory later.
"""

from __future__ import annotations

from slipway.contract.tasks import POOLING
from slipway.models.facts import Keeps, Layers, Model
from slipway.operator.planning.memory import weights
from slipway.operator.planning.memory.container import divided
from slipway.operator.planning.memory.settings import MIB, Device, Settings
from slipway.operator.planning.plan import Memory

PADDED_TO = 256  # tokens
STEP = 512  # tokens that are computed at once, if the spec sets no number
PROCESSES = 400 * MIB
"""slipway-runtime, the engine's Python process with its web app, and the libraries."""


def divide(model: Model, device: Device, settings: Settings, *, context_length: int, slots: int) -> Memory:
    """The model's weights must be known."""
    return divided(
        model,
        device,
        weights=weights.file_bytes(model) or 0,
        activation=_step(model, settings, context_length),
        other=PROCESSES,
        kv_cache=cache_bytes(model, settings, context_length=context_length, slots=slots),
    )


def cache_bytes(model: Model, settings: Settings, *, context_length: int, slots: int) -> int:
    """Of all slots."""
    return slots * sum(
        each.count * _of_layer(each, settings, context_length) for kind in model.layers for each in kind.apart()
    )


def _of_layer(layers: Layers, settings: Settings, context_length: int) -> int:
    """Of one slot. A layer with a window keeps the window and one step; a state has 32 bits."""
    if layers.keeps is Keeps.STATE:
        return 4 * (layers.state_16_bit + layers.state_32_bit)
    tokens = context_length if layers.window is None else min(context_length, layers.window + settings.batched_tokens)
    return int(_padded(tokens) * layers.values_per_token * settings.kv_bits / 8)


def _padded(tokens: int) -> int:
    return -(-tokens // PADDED_TO) * PADDED_TO


def _step(model: Model, settings: Settings, context_length: int) -> int:
    """The logits of a step in 32 bits, and the largest intermediate values. A model that generates nothing has no
    logits, and one step for all tokens of a request, with the attention of each to each."""
    widest = 2 * (model.intermediate_size or 0) + 2 * (model.hidden_size or 0)
    if model.task in POOLING:
        return 4 * context_length * (widest + (model.attention_heads or 0) * context_length)
    return 4 * settings.batched_tokens * max(widest, model.vocabulary_size or 0)
