"""How long a wake will take, as far as earlier ones tell, and what follows from it for those who wait. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from slipway.api import units
from slipway.api.model import ModelFacts

BEFORE_LOADING = 60.0  # seconds for a node, an image and an engine, where no start has been seen yet
BYTES_PER_SECOND = 200e6  # at which a model comes from a network disk
UNKNOWN_MODEL_BYTES = 16e9  # 8 billion parameters of two bytes
BYTES_OF: Mapping[str, float] = {
    "float32": 4, "float16": 2, "bfloat16": 2, "float8": 1, "int8": 1, "int4": 0.5,
}  # fmt: skip
MARGIN_FACTOR, MARGIN = 2.0, 30.0
SHORTEST, LONGEST = 300.0, 3600.0  # clients that give up sooner are forgotten at once


def size_of(facts: ModelFacts) -> float | None:
    """Bytes that have to be loaded, as far as the spec tells."""
    if facts.weights is not None:
        return float(units.amount(facts.weights))
    if facts.parameters is not None:
        return facts.parameters * BYTES_OF[facts.dtype or "bfloat16"]
    return None


def expected_wake(last_starts: Sequence[float], model_bytes: float | None = None) -> float:
    """Seconds from the first request to a ready replica: the usual ones of late, or a guess from the model's size."""
    if last_starts:
        return median(last_starts)
    return BEFORE_LOADING + (UNKNOWN_MODEL_BYTES if model_bytes is None else model_bytes) / BYTES_PER_SECOND


def hold_timeout(last_starts: Sequence[float], model_bytes: float | None = None) -> float:
    """Seconds that `timeout: Auto` stands for: the slowest start of late, with a margin."""
    slowest = max(last_starts, default=expected_wake((), model_bytes))
    return min(max(slowest * MARGIN_FACTOR + MARGIN, SHORTEST), LONGEST)
