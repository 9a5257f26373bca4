"""How vLLM uses the memory of a container on CPUs, where its cache has a size that is set in advance. Pure."""

from __future__ import annotations

from slipway.models.facts import Evidence, Model
from slipway.operator.planning.memory import weights
from slipway.operator.planning.memory.settings import GIB, Device, Release, Settings
from slipway.operator.planning.plan import Memory

OTHER = 2 * GIB
"""Of vLLM's processes with their libraries."""
MOST, LEAST = 32 * GIB, 1 * GIB


def divide(model: Model, device: Device, settings: Settings, release: Release) -> Memory:
    """Half of what is left is the cache, in whole GiB; the other half is for steps and for loading."""
    own = weights.on_each_device(model, settings)
    left = device.total - own - OTHER
    cache = settings.kv_bytes if settings.kv_bytes is not None else min(MOST, left // 2 // GIB * GIB)
    if cache < LEAST:
        cache = LEAST if left >= LEAST else 0
    return Memory(
        total=device.total,
        budget=device.total,
        weights=own,
        activation=max(0, min(left - cache, left // 2)),
        other=OTHER,
        graphs=0,
        outside=0,
        kv_cache=cache,
        evidence={
            "total": Evidence.EXACT,
            "weights": model.evidence.get("parameters", Evidence.REPORTED),
            "kv_cache": Evidence.EXACT,
            **dict.fromkeys(("activation", "other"), Evidence.ESTIMATED),
        },
    )
