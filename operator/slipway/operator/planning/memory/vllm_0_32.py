"""What vLLM 0.32 takes besides weights and cache: fitted to starts on H200s (benchmarks/measured). Pure.

Buffers of the sampler and of experts stay, so they count as resident and not as activation. For CUDA graphs it takes
off about twice of what they take later, so it uses less than its share once it is ready, and more under load.
"""

from __future__ import annotations

import math

from slipway.models.facts import Keeps, Model
from slipway.operator.planning.memory.settings import (
    GIB,
    Parts,
    Settings,
    compiling,
    dense_inner,
    expert_buffers,
    graph_share,
)

LIBRARIES, LIBRARIES_PARALLEL = int(0.29 * GIB), int(0.73 * GIB)
"""What CUDA and its libraries take; and NCCL besides, with tensor parallelism."""
PENALTIES = 4 * 33 / 32
"""Bytes for each request and token of the vocabulary: counters, and a bit of each of two masks."""
DRAFTING = int(0.58 * GIB)
"""Of n-gram speculation."""
ATTENTION_OF_HIDDEN, ATTENTION_OF_HEADS = 2.75, 4.0
"""Of a layer with experts and no dense MLP, the attention is the peak: values for each of its inputs and heads."""
GRAPHS_OF_LAYER, GRAPHS_OF_LATENT, GRAPHS_OF_STATE = 0.0227, 0.049, 0.0115
"""GiB taken off for the graphs of a layer, for up to 512 requests."""
GRAPHS_OF_REQUESTS = 0.2 / 1024
"""GiB taken off for each request, whatever the model."""
GRAPHS_WITH_ADAPTERS, GRAPHS_OF_POOLING = 1.35, 0.3
"""Factors: adapters have graphs of their own; models without sampler have fewer kinds of graphs."""
OUTSIDE, OUTSIDE_OF_STATES = int(1.0 * GIB), int(2.4 * GIB)
"""The largest values that were measured: 0.83 GiB under load, and 1.78 of a model with states that had just started."""


def parts(model: Model, settings: Settings) -> Parts:
    has_states = any(each.has_state for each in model.layers)
    is_peculiar = has_states or (model.quantization is not None and "fp4" in model.quantization.format)
    return Parts(
        activation=max(_of_layers(model, settings), compiling(model, settings)),
        resident=_resident(model, settings),
        graphs=int(_graphs(model, settings) * GIB),
        outside=OUTSIDE_OF_STATES if is_peculiar else OUTSIDE,
    )


def _of_layers(model: Model, settings: Settings) -> int:
    """Of a dense layer: three values of each width, in 16 bits."""
    hidden, inner = model.hidden_size or 0, dense_inner(model, settings)
    if inner:
        return 2 * settings.batched_tokens * 3 * (hidden + inner)
    heads = (model.attention_heads or 0) * max((each.key_size for each in model.layers), default=0) // settings.tensor
    return int(2 * settings.batched_tokens * (ATTENTION_OF_HIDDEN * hidden + ATTENTION_OF_HEADS * heads))


def _resident(model: Model, settings: Settings) -> int:
    resident = LIBRARIES + expert_buffers(model, settings)
    if model.task == "Generate":
        resident += int(settings.sequences * (model.vocabulary_size or 0) * PENALTIES)
    if settings.is_drafting:
        resident += DRAFTING
    return resident + (LIBRARIES_PARALLEL if settings.tensor > 1 else 0)


def _graphs(model: Model, settings: Settings) -> float:
    """GiB."""
    if not settings.largest_graph:
        return 0.0
    of_layers = sum(each.count * _of_layer(each.keeps) for each in model.layers) * graph_share(settings)
    whole = of_layers + GRAPHS_OF_REQUESTS * settings.sequences * math.sqrt(graph_share(settings))
    if model.task != "Generate":
        return whole * GRAPHS_OF_POOLING
    return whole * (GRAPHS_WITH_ADAPTERS if settings.adapters else 1)


def _of_layer(keeps: Keeps) -> float:
    if keeps is Keeps.STATE:
        return GRAPHS_OF_STATE
    return GRAPHS_OF_LATENT if keeps is Keeps.LATENT else GRAPHS_OF_LAYER
