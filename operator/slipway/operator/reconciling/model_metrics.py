"""The metrics of each LLMDeployment. All have the labels `namespace` and `llmdeployment`, and end with the object.

How many lines one LLMDeployment has doesn't depend on what is written into it: `figures` says why. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from slipway.api.model_key import ModelKey
from slipway.observing.figures import Figures
from slipway.observing.objectives import SHARES, Objectives, label
from slipway.observing.wakes import WakeResult
from slipway.operator.reconciling import cost_metrics
from slipway.operator.reconciling.cost_metrics import COST_METRICS, Costs
from slipway.operator.reconciling.model_counts import ModelCounts
from slipway.process.exposition import Description, Sample

OF_MODEL = ("namespace", "llmdeployment")


def _gauge(name: str, help_: str, *labels: str) -> Description:
    return Description(f"slipway_{name}", "gauge", (*OF_MODEL, *labels), help_)


INFO = _gauge(
    "llmdeployment_info",
    "1 for each LLMDeployment: its engine, the AcceleratorProfile of its plan, and the name that clients use",
    "engine",
    "accelerator",
    "model",
)
STATE = _gauge("llmdeployment_state", "1 for the present state, and the reason of Ready", "state", "reason")
CONDITION = _gauge(
    "llmdeployment_condition",
    "1 for each condition that is not as it should be: Stalled if it is True, others if they are False. ModelLoaded is "
    "as it should be at zero replicas",
    "type",
    "reason",
)
REPLICAS = _gauge(
    "llmdeployment_replicas",
    "Replicas: wanted, ready and warming (on their way) by the status, min and max by the spec",
    "kind",
)
MAX_CONCURRENCY = _gauge("planned_max_concurrency", "Concurrent requests that one replica is planned for")
TOKENS_PER_SECOND = _gauge(
    "planned_decode_tokens_per_second",
    "Output tokens per second that one replica is expected to compute at that concurrency, where the plan knows it",
)
DEVICES = _gauge("planned_devices", "Accelerators of one replica; 0 on CPUs")
PLAN_ERROR = _gauge(
    "plan_error_ratio",
    "Error of a model's plan relative to what its engine measured, of those that are off by more than 5 %",
)
COLD_START = _gauge(
    "last_cold_start_seconds", "Duration of each phase of the last start from zero, and of all phases (total)", "phase"
)
EXPECTED_COLD_START = _gauge(
    "expected_cold_start_seconds",
    "Expected duration of a start from zero: that of the last one, or an estimate from the model's size. The Auto of "
    "spec.scaling.hold.timeout is computed from the same",
)
SLO = _gauge(
    "slo_objective",
    "Share of requests that have to be within the boundary le of the engine's histogram, by spec.slo",
    "slo",
    "le",
)
SLO_BOUNDARY = _gauge("slo_boundary_seconds", "The same boundary as a number, for graphs", "slo")
SLO_AVAILABILITY = _gauge("slo_availability_objective", "Share of requests that must not fail, by spec.slo")
SLO_WINDOW = _gauge("slo_window_seconds", "Time over which the objectives of spec.slo hold")
WAKES = Description(
    "slipway_wakes_total",
    "counter",
    (*OF_MODEL, "result"),
    "Starts from zero replicas since this replica leads, by their result: ready or failed",
)
LAST_WAKE = _gauge(
    "last_wake_timestamp_seconds",
    "When the last one of these ended; not there before this replica has seen one",
    "result",
)
FAILED_IN_A_ROW = _gauge(
    "wakes_failed_in_a_row",
    "Starts from zero that have failed since the last one that succeeded, as far as this replica has seen them",
)
POD_FAILURES = Description(
    "slipway_pod_failures_total",
    "counter",
    (*OF_MODEL, "reason"),
    "Containers that ended and pods that were lost since this replica leads, by the cause; there from the first one on",
)
LAST_POD_FAILURE = _gauge(
    "last_pod_failure_timestamp_seconds",
    "When the last one of these was, also if an earlier leader saw it; compare it with time(), since a query of the "
    "increase misses the first failure",
    "reason",
)
MODEL_METRICS = (
    INFO,
    STATE,
    CONDITION,
    REPLICAS,
    MAX_CONCURRENCY,
    TOKENS_PER_SECOND,
    DEVICES,
    PLAN_ERROR,
    COLD_START,
    EXPECTED_COLD_START,
    SLO,
    SLO_BOUNDARY,
    SLO_AVAILABILITY,
    SLO_WINDOW,
    WAKES,
    LAST_WAKE,
    FAILED_IN_A_ROW,
    POD_FAILURES,
    LAST_POD_FAILURE,
    *COST_METRICS,
)


class Seen(NamedTuple):
    """What the cache shows of one LLMDeployment, and what was counted."""

    key: ModelKey
    figures: Figures
    counts: ModelCounts  # since this replica leads
    costs: Costs | None = None  # None: it was not reconciled yet


def samples_of(seen: Seen) -> Iterator[Sample]:
    key, figures, counts, costs = seen
    yield Sample(INFO, (*key, figures.engine, figures.accelerator, figures.model), 1)
    if figures.state:
        yield Sample(STATE, (*key, figures.state, figures.reason), 1)
    for kind, reason in figures.problems:
        yield Sample(CONDITION, (*key, kind, reason), 1)
    for name, number in figures.replicas._asdict().items():
        yield Sample(REPLICAS, (*key, name), number)
    for metric, value in (
        (MAX_CONCURRENCY, figures.max_concurrency),
        (TOKENS_PER_SECOND, figures.tokens_per_second),
        (DEVICES, figures.devices),
        (PLAN_ERROR, figures.plan_error),
        (EXPECTED_COLD_START, figures.expected_cold_start),
    ):
        if value is not None:
            yield Sample(metric, key, value)
    for phase, seconds in figures.cold_start:
        yield Sample(COLD_START, (*key, phase), seconds)
    yield from _objectives(key, figures.objectives)
    yield from _counted(key, counts)
    if costs:
        yield from cost_metrics.samples_of(key, costs)


def _counted(key: ModelKey, counts: ModelCounts) -> Iterator[Sample]:
    for result in WakeResult:
        yield Sample(WAKES, (*key, result), counts.wakes[result])
    for result, at in counts.woken_at.items():
        yield Sample(LAST_WAKE, (*key, result), at)
    yield Sample(FAILED_IN_A_ROW, key, counts.failed_in_a_row)
    for reason, number in counts.failures.items():
        yield Sample(POD_FAILURES, (*key, reason), number)
    for reason, at in counts.failed_at.items():
        yield Sample(LAST_POD_FAILURE, (*key, reason), at)


def _objectives(key: ModelKey, objectives: Objectives | None) -> Iterator[Sample]:
    """Those of times have the boundary at which they are counted, so that queries can join on it."""
    if objectives is None:
        return
    for name, boundary in objectives.boundaries.items():
        yield Sample(SLO, (*key, name, label(boundary)), SHARES[name])
        yield Sample(SLO_BOUNDARY, (*key, name), boundary)
    if objectives.availability is not None:
        yield Sample(SLO_AVAILABILITY, key, objectives.availability)
    yield Sample(SLO_WINDOW, key, objectives.window)
