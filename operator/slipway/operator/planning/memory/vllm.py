"""How vLLM divides the memory of a device, before any of it is taken. Pure.

    for the KV cache = total * utilization - weights - activation - non-torch - the estimate for CUDA graphs

That is vLLM's own rule; how large the parts are was fitted to measured starts. What vLLM uses besides its share once it
is ready (captured graphs, loaded kernels) must fit into what the share leaves: otherwise the cache is made smaller, so
that no engine dies of memory that a plan has promised.
"""

from __future__ import annotations

import math
from dataclasses import replace

from slipway.models.facts import Evidence, Model
from slipway.operator.planning.memory import weights
from slipway.operator.planning.memory.settings import Device, Release, Settings
from slipway.operator.planning.plan import Memory

SEEN_TOKEN = 130_000
"""Bytes for each token that an image or a video becomes, while a vision tower computes it: Qwen2.5-VL's, measured once.
Those of other towers were not measured."""


def divide(model: Model, device: Device, settings: Settings, release: Release) -> Memory:
    """The model's weights must be known."""
    own, parts = weights.on_each_device(model, settings), release.parts(model, settings)
    budget = min(math.ceil(device.total * settings.utilization), device.total - parts.outside)
    activation = parts.activation + _seen(settings)
    left = budget - own - activation - parts.resident - parts.graphs
    return Memory(
        total=device.total,
        budget=budget,
        weights=own,
        activation=activation,
        other=parts.resident,
        graphs=parts.graphs,
        outside=parts.outside,
        kv_cache=max(0, left),
        evidence={
            "total": Evidence.REPORTED,
            "weights": model.evidence.get("parameters", Evidence.REPORTED),
            **dict.fromkeys(("activation", "other", "graphs", "outside", "kv_cache"), Evidence.ESTIMATED),
        },
    )


def least_cache(memory: Memory, model: Model, settings: Settings, release: Release) -> int:
    """Bytes that are left for the cache of `memory` at the first start, when vLLM compiles."""
    compiling = release.parts(model, replace(settings, is_compiling=True)).activation
    return max(0, memory.kv_cache - (compiling + _seen(settings) - memory.activation))


def _seen(settings: Settings) -> int:
    return SEEN_TOKEN * settings.seen_tokens


def missing(memory: Memory) -> int:
    """Bytes that are lacking for the weights and one step; 0 or less if there is room for a cache."""
    return memory.weights + memory.overhead - memory.budget
