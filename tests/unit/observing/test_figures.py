"""What is exposed of an LLMDeployment as metrics."""

from typing import Any

import pytest
from slipway.api.reasons import ConditionType, Reason, State
from slipway.objects.kinds import Object
from slipway.observing.figures import LONGEST_LABEL, PHASES, Figures, figures_of
from slipway.observing.objectives import Objectives


def llm(*, status: Object | None = None, model: Object | None = None, **spec: Any) -> Object:
    metadata = {"name": "llama", "namespace": "chat"}
    return {"metadata": metadata, "spec": {"model": {"uri": "pvc://m/", **(model or {})}, **spec}, "status": status}


def figures(*conditions: tuple[str, str, str], **status: Any) -> Figures:
    written = [{"type": kind, "status": is_true, "reason": reason} for kind, is_true, reason in conditions]
    return figures_of(llm(status={"conditions": written, **status}))


def test_a_new_object_has_what_its_spec_says_and_no_state() -> None:
    found = figures_of(llm(scaling={"maxReplicas": 4}))
    assert (found.engine, found.model, found.accelerator) == ("vllm", "llama", "")
    assert (found.replicas.min, found.replicas.max, found.replicas.wanted) == (0, 4, 0)
    assert found.state is None
    assert not found.problems
    assert not found.cold_start


def test_the_model_has_the_name_that_clients_use() -> None:
    assert figures_of(llm(model={"servedName": "meta/llama-3"})).model == "meta/llama-3"


def test_the_plan_is_shown_as_the_status_has_it() -> None:
    plan = {
        "accelerator": "nvidia-h200",
        "gpusPerReplica": 2,
        "maxConcurrency": 64,
        "expected": {"tokensPerSecond": 812.5},
    }
    found = figures(plan=plan)
    assert (found.accelerator, found.devices, found.max_concurrency) == ("nvidia-h200", 2, 64)
    assert found.tokens_per_second == 812.5


def test_a_state_is_shown_with_the_reason_of_ready() -> None:
    found = figures(("Ready", "False", "GpuOutOfMemory"), state="Failed")
    assert (found.state, found.reason) == (State.FAILED, Reason.GPU_OUT_OF_MEMORY)


def test_problems_are_the_conditions_that_are_not_as_they_should_be() -> None:
    found = figures(
        ("Ready", "True", "Serving"),
        ("Scaled", "False", "ScalerUnavailable"),
        ("Stalled", "True", "MetricsMissing"),
        ("Reconciling", "True", "Scaling"),
        ("Planned", "Unknown", "Unknown"),
    )
    assert found.problems == (
        (ConditionType.SCALED, Reason.SCALER_UNAVAILABLE),
        (ConditionType.STALLED, Reason.METRICS_MISSING),
    )


@pytest.mark.parametrize(("reason", "shown"), [("ScaledToZero", False), ("LoadingModel", True)])
def test_a_model_that_sleeps_has_no_problem_because_nothing_is_loaded(reason: str, shown: bool) -> None:
    assert bool(figures(("ModelLoaded", "False", reason)).problems) is shown


def test_the_last_cold_start_has_its_phases_and_their_sum() -> None:
    found = figures(lastColdStart={"schedule": "1s", "pull": "1m30s", "compiled": "Nothing", "pod": "llama-0"})
    assert dict(found.cold_start) == {"schedule": 1, "pull": 90, "total": 91}
    assert found.expected_cold_start == 91


def test_before_the_first_cold_start_the_size_of_the_model_determines_what_is_expected() -> None:
    small, large = (figures_of(llm(model={"facts": {"parameters": size}})) for size in (270_000_000, 70_000_000_000))
    assert 0 < small.expected_cold_start < large.expected_cold_start


# --- a tenant may write both spec and status -------------------------------------------------------------------------


def test_invented_words_become_no_values_of_labels() -> None:
    found = figures(
        ("Ready", "False", "x" * 1000),
        ("Evil", "False", "y"),
        state="Evil",
        plan={"accelerator": "z" * 1000},
        lastColdStart={"evil": "1s", "ready": "2s"},
    )
    assert found.state is None
    assert found.reason == Reason.UNKNOWN
    assert found.problems == ((ConditionType.READY, Reason.UNKNOWN),)
    assert len(found.accelerator) == LONGEST_LABEL
    assert {phase for phase, _ in found.cold_start} <= {*PHASES, "total"}


@pytest.mark.parametrize("number", [-1, float("nan"), float("inf"), "9", True, None, {}])
def test_what_is_no_number_of_things_is_left_out(number: Any) -> None:
    found = figures(plan={"maxConcurrency": number, "gpusPerReplica": number}, replicas={"ready": number})
    assert (found.max_concurrency, found.devices, found.replicas.ready) == (None, None, 0)


def test_an_impossible_cold_start_is_not_shown() -> None:
    found = figures(lastColdStart={"ready": "9999999h"})
    assert found.cold_start == ()
    assert found.expected_cold_start == figures_of(llm()).expected_cold_start


def test_objectives_are_shown_with_the_boundaries_at_which_they_are_counted() -> None:
    found = figures_of(llm(slo={"ttftP95": "500ms", "availability": "99.5%", "window": "168h"})).objectives
    assert found == Objectives(boundaries={"ttft": 0.5}, availability=0.995, window=604_800)


def test_an_objective_that_running_pods_can_not_count_is_not_shown() -> None:
    objectives = {"ttftP95": "500ms", "e2eP99": "30s", "availability": "99.5%"}
    uncounted = {"slo": {"uncounted": {"objectives": ["ttftP95"], "pod": "a", "message": "…"}}}
    found = figures_of(llm(slo=objectives, status=uncounted)).objectives
    assert found
    assert (found.boundaries, found.availability) == ({"e2e": 30.0}, 0.995)


@pytest.mark.parametrize("slo", [None, {}, {"ttftP95": "soon"}, {"ttftP95": ["500ms"]}, {"more": 1}, 7])
def test_objectives_that_can_not_be_read_are_none(slo: Any) -> None:
    found = figures_of(llm(slo=slo)).objectives
    assert found is None or not found.boundaries
