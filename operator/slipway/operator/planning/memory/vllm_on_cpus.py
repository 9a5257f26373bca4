"""How vLLM uses the memory of a container on CPUs, where its cache has a size that is set in advance. Pure."""

from __future__ import annotations

from slipway.models.facts import Model
from slipway.operator.planning.memory.container import divided
from slipway.operator.planning.memory.settings import GIB, Device, Settings
from slipway.operator.planning.memory.weights import on_each_device
from slipway.operator.planning.plan import Memory

OTHER = 2 * GIB
"""Of vLLM's processes with their libraries."""
MOST, LEAST = 32 * GIB, 1 * GIB


def divide(model: Model, device: Device, settings: Settings, *, weights: int | None = None) -> Memory:
    """Half of what is left is the cache, in whole GiB; the other half is for steps and for loading. `weights`: bytes,
    where they were measured."""
    own = weights or on_each_device(model, settings)
    left = device.total - own - OTHER
    cache = min(MOST, left // 2 // GIB * GIB)
    if cache < LEAST:
        cache = LEAST if left >= LEAST else 0
    activation = max(0, min(left - cache, left // 2))
    return divided(model, device, weights=own, activation=activation, other=OTHER, kv_cache=cache)
