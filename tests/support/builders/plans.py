"""Plans, for tests of what is reported and rendered of them: a small one, and one in which everything is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slipway.models.facts import Evidence
from slipway.operator.planning import Plan
from slipway.operator.planning.plan import Memory, Speed

GIB = 2**30
SMALL = Plan(
    engine="vllm",
    runtime="slipway-vllm-cuda",
    profile="h100-80gb",
    vendor="NVIDIA",
    gpus_per_replica=1,
    max_concurrency=64,
    why=("the only one that fits",),
)
"""Of a model of which nothing is known."""
MEMORY = Memory(
    total=150_109_880_320,
    budget=138_101_089_895,
    weights=16_110_422_425,
    activation=1_185_410_973,
    other=241_591_910,
    graphs=0,
    outside=2_254_857_830,
    kv_cache=120_563_664_587,
    evidence={
        "total": Evidence.REPORTED,
        "budget": Evidence.EXACT,
        "weights": Evidence.EXACT,
        "activation": Evidence.ESTIMATED,
        "other": Evidence.MEASURED,
        "graphs": Evidence.MEASURED,
        "outside": Evidence.ESTIMATED,
        "kv_cache": Evidence.ESTIMATED,
    },
)
SPEED = Speed(
    time_per_token=0.00452,
    time_per_token_at_concurrency=0.0213,
    prefill_tokens_per_second=24_000,
    tokens_per_second=3_004.7,
    cost_per_million_tokens=0.4622,
    formula="16.1 GB of weights / (4.8 TB/s, of which 74 %) = 4.5 ms for each token.",
)
KNOWN = replace(
    SMALL,
    profile="h200-141gb",
    context_length=8192,
    kv_cache_bytes=MEMORY.kv_cache,
    weights_bytes=MEMORY.weights,
    node_terms=({"nvidia.com/gpu.product": "NVIDIA-H200"},),
    start_limit=1205.5,
    memory=MEMORY,
    kv_tokens=919_824,
    concurrent_at_full_length=112.284,
    speed=SPEED,
    why=("h200-141gb: the cheapest of 2 profiles that fit.",),
    rejected=("l4: needs 3.1 GiB more: set contextLength to 6144, or quantization to FP8.",),
    warnings=("scaling.target.tpotP95: 15ms is asked for, and 21.3ms are expected with 64 requests at a time.",),
)
"""Of a model of which all is known: Llama 3.1 8B on an H200, by a measured start."""


def plan(**fields: Any) -> Plan:
    return replace(SMALL, **fields)
