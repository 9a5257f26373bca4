"""How many replicas a model needs where they follow times: tracking computes it, KEDA gets it. Pure."""

from __future__ import annotations

from typing import NamedTuple


class ByTimes(NamedTuple):
    """How many replicas a model needs where they follow times, such as that to the first token."""

    replicas: int
    by_requests: bool = False  # there were too few requests to tell: those in flight may need more replicas
    follows: str = ""  # the time that is furthest above its target: ttft or tpot; empty: none is measured (yet)
    seconds: float = 0.0  # its 95th percentile
    target: float = 0.0  # seconds
