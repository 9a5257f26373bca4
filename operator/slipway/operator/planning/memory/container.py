"""The memory of a container, for engines on CPUs: all of it may be used, and nothing lies outside. Pure."""

from __future__ import annotations

from slipway.models.facts import Evidence, Model
from slipway.operator.planning.memory.settings import Device
from slipway.operator.planning.plan import Memory


def divided(model: Model, device: Device, *, weights: int, activation: int, other: int, kv_cache: int) -> Memory:
    return Memory(
        total=device.total,
        budget=device.total,
        weights=weights,
        activation=activation,
        other=other,
        graphs=0,
        outside=0,
        kv_cache=kv_cache,
        evidence={
            "total": Evidence.EXACT,
            "weights": model.evidence.get("parameters", Evidence.REPORTED),
            "kv_cache": Evidence.EXACT,
            **dict.fromkeys(("activation", "other"), Evidence.ESTIMATED),
        },
    )
