"""How long a wake takes, estimated from earlier ones, and how long requests wait for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from pydantic import ValidationError

from slipway.api import units
from slipway.api.model import ModelFacts
from slipway.objects.kinds import Object
from slipway.observing.phases import length_of

BEFORE_LOADING = 60.0  # seconds for a node, an image and an engine, if no start was observed yet
BYTES_PER_SECOND = 200e6  # at which a model is read from a network disk
UNKNOWN_MODEL_BYTES = 16e9  # 8 billion parameters of two bytes
BYTES_OF: Mapping[str, float] = {
    "float32": 4, "float16": 2, "bfloat16": 2, "float8": 1, "int8": 1, "int4": 0.5,
}  # fmt: skip
MARGIN_FACTOR, MARGIN = 2.0, 30.0
SHORTEST, LONGEST = 300.0, 3600.0  # seconds; a client that gives up sooner is forgotten immediately


def size_of(facts: ModelFacts) -> float | None:
    """Bytes that have to be loaded, as far as the spec says."""
    if facts.weights is not None:
        return float(units.amount(facts.weights))
    if facts.parameters is not None:
        return facts.parameters * BYTES_OF[facts.dtype or "bfloat16"]
    return None


def model_size(deployment: Object) -> float | None:
    """Bytes; None if the spec doesn't say, or can't be read."""
    try:
        return size_of(ModelFacts.model_validate(deployment["spec"]["model"].get("facts") or {}))
    except ValidationError:
        return None


def last_cold_start(deployment: Object) -> float | None:
    """Seconds, the sum of its phases in the status. None: there is none, or one that can't be true: the tenant may be
    able to write the status, too."""
    phases = (deployment.get("status") or {}).get("lastColdStart") or {}
    return length_of(phases) if phases else None


def expected_wake(last_starts: Sequence[float], model_bytes: float | None = None) -> float:
    """Seconds from the first request to a ready replica: the median of the last starts, or a guess from the model's
    size."""
    if last_starts:
        return median(last_starts)
    return BEFORE_LOADING + (UNKNOWN_MODEL_BYTES if model_bytes is None else model_bytes) / BYTES_PER_SECOND


def hold_timeout(
    last_starts: Sequence[float], model_bytes: float | None = None, start_limit: float | None = None
) -> float:
    """Seconds for `timeout: Auto`: the slowest of the last starts, with a margin.

    Before the first one, at least as long as the plan allows a start to take.
    """
    slowest = max(last_starts, default=expected_wake((), model_bytes))
    planned = 0.0 if last_starts or start_limit is None else start_limit
    return min(max(slowest * MARGIN_FACTOR + MARGIN, planned, SHORTEST), LONGEST)
