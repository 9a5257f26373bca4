"""Which series expressions use, and which of our own no expression does, on purpose."""

from __future__ import annotations

import re
from collections.abc import Mapping

FOR_PEOPLE: Mapping[str, str] = {
    "slipway_activator_coming": "for people: part of `slipway_activator_used_ratio`",
    "slipway_activator_connections": "for people: part of `slipway_activator_used_ratio`",
    "slipway_activator_counted_together_total": "for people: whether models have series of their own",
    "slipway_activator_followed_seconds": "for people: the measured time that the number of replicas follows",
    "slipway_activator_peers": "for people: whether activators see each other",
    "slipway_activator_wanted_replicas": "for KEDA: the number of replicas of models that follow times",
    "slipway_activator_wakes_total": "for people: wakes by activator; `slipway_wakes_total` has their results",
    "slipway_activator_keda_streams": "for people: whether KEDA is connected",
    "slipway_activator_keda_last_call_age_seconds": "for people: whether KEDA asks",
    "slipway_budget_resets_timestamp_seconds": "for people: when a budget starts again",
    "slipway_compile_caches": "for people: how many models compile at each start",
    "slipway_model_caches": "for people: how many models are fetched by each replica",
    "slipway_engine_response_seconds_total": "for the operator: how busy a replica is",
    "slipway_llmdeployments": "for people: how many there are in each state",
    "slipway_queue_depth": "for people: how much work waits; the alert looks at the age of the oldest",
    "slipway_queue_retries_total": "for people: reconciles that fail",
    "slipway_refusals_total": "for people: which limits clients run into",
    "slipway_requests_queued": "for the activator: part of the requests in flight of llama.cpp",
    "slipway_runtime_busy_seconds_total": "for people: by pod; the ledger has it by model",
    "slipway_runtime_compile_cache_bytes": "for people: the compile cache of a pod",
    "slipway_runtime_compile_cache_compile_seconds": "for people: the compile cache of a pod",
    "slipway_runtime_compile_cache_new_files": "for people: the compile cache of a pod",
    "slipway_runtime_compile_cache_publish_seconds": "for people: the compile cache of a pod",
    "slipway_runtime_compile_cache_read_seconds": "for people: the compile cache of a pod",
    "slipway_runtime_engine_scraped": "for people: why engine metrics are missing",
    "slipway_runtime_engine_silence_seconds": "for people: an engine that is stuck",
    "slipway_runtime_guards": "for people: processes of an engine",
    "slipway_runtime_info": "for people: versions in use",
    "slipway_runtime_output_lines_dropped_total": "for people: gaps in a log",
    "slipway_runtime_phase_seconds": "for people: the start of a pod",
    "slipway_runtime_ready_seconds_total": "for people: by pod; the ledger has it by model",
    "slipway_runtime_requests_in_flight": "for people: what a pod that drains waits for",
    "slipway_runtime_state": "for people: what a pod is doing",
    "slipway_spans_total": "for people: whether traces arrive",
    "slipway_unfilled_caches": "for people: a program that isn't ready",
    "slipway_watch_restarts_total": "for people: watches that break",
}
"""Why each of them has no rule and no panel."""

OPTIONAL: Mapping[str, str] = {
    "DCGM_FI_DEV_FB_USED": "NVIDIA's [dcgm-exporter](https://github.com/NVIDIA/dcgm-exporter), for memory of GPUs",
    "DCGM_FI_DEV_GPU_UTIL": "the same, for their utilization",
    "up": "Prometheus itself, for each target",
}
"""Series that neither Slipway nor an engine exposes."""

_QUOTED = re.compile(r'"[^"]*"')
_RANGES = re.compile(r"\[[^\]]*\]")
_GROUPING = re.compile(r"\b(?:by|on|group_left|group_right|without|ignoring)\s*\([^)]*\)")
_NAME = re.compile(r"(?<![\w:$.])([a-zA-Z_][\w:]*)\b(?!\s*\()")
_WORDS = frozenset(("and", "or", "unless", "bool", "offset", "inf", "nan"))
_PART = re.compile(r"_(?:bucket|count|sum)$")


def series_in(expression: str) -> set[str]:
    """The names of series in an expression, without the parts of a histogram's name."""
    return {_PART.sub("", name) for name in names_in(expression)}


def names_in(expression: str) -> set[str]:
    text = _GROUPING.sub(
        " ", _RANGES.sub(" ", _QUOTED.sub("", re.sub(r"\{[^{}]*\}", " ", _QUOTED.sub("", expression))))
    )
    text = re.sub(r"\boffset\s+\S+", " ", text)
    return {name for name in _NAME.findall(text) if name not in _WORDS}
