"""The boundaries of all histograms of times, in seconds: the same in the guard and in vLLM, which gets them as a flag.

Objectives and alerts count how many requests are at or below a boundary. So the boundaries are round numbers, which
people choose as targets, and where most targets are, each is at most a third above the one before it: the nearest one
is less than 15 % away. Elsewhere it is at most 25 % away, for targets from 1 ms, 5 ms and 50 ms on.

This file is the same on both sides of the pod: `make generate` copies it from runtime-image/slipway_runtime/contract to
operator/slipway/contract.
"""

from __future__ import annotations

from collections.abc import Mapping

# Between two tokens of a stream, and per token of a request. A GPU takes a few milliseconds for the token of a small
# model, and a CPU may take a quarter of a second.
TOKEN_BUCKETS = (
    *(0.001, 0.0015, 0.002, 0.0025, 0.003, 0.004, 0.005, 0.006, 0.008),
    *(0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08),
    *(0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.8, 1.0, 1.5, 2.5, 4.0),
)

# From a request to its first token.
FIRST_TOKEN_BUCKETS = (
    *(0.005, 0.008, 0.0125, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08),
    *(0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8),
    *(1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0),
    *(10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0),
)

# For a whole request, in its queue, and in each of its stages.
REQUEST_BUCKETS = (
    *(0.01, 0.025, 0.05, 0.08, 0.125, 0.2, 0.3, 0.5, 0.8),
    *(1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0),
    *(10.0, 12.5, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 80.0),
    *(120.0, 180.0, 240.0, 300.0, 450.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0),
)

Boundaries = Mapping[str, tuple[float, ...]]
"""Of the histograms of times, by the name of the objective that is counted in them."""

OF_TIMES: Boundaries = {"ttft": FIRST_TOKEN_BUCKETS, "tpot": TOKEN_BUCKETS, "e2e": REQUEST_BUCKETS}
