"""A ScaledObject that KEDA reports as not ready: a model that needs it says so, and its status doesn't flap."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from slipway.objects.kinds import Object
from slipway.observing.observation import observe
from slipway.observing.platform import LASTS_AFTER, PASSES_WITHIN
from slipway.observing.scaler import fails_since
from slipway.observing.snapshot import Snapshot
from support.builders.observed import NOW

from .test_platform import CRASHES, PAUSED, asleep, at, keda, model, reported_status, serving, summed_up, waking

ADDRESS = "slipway-activator.slipway-system:9090"
UNANSWERED = "Triggers defined in ScaledObject are not working correctly"
NO_TARGET = 'ScaledObject doesn\'t have correct scaleTargetRef specification: deployments "model-predictor" not found'
NO_METRICS = "failed to ensure HPA is correctly created for ScaledObject: no metric specs returned from scalers for it"


def scaled_object(
    ready: str | None = "False", reason: str = "TriggerError", message: str = UNANSWERED, **metadata: Any
) -> Object:
    """As KEDA writes it, without any time. None: KEDA has set no condition yet."""
    conditions = [{"type": "Ready", "status": ready, "reason": reason, "message": message}] if ready else []
    return {
        "metadata": {"name": "model", "creationTimestamp": at(1000), **metadata},
        "spec": {"triggers": [{"type": "external-push", "metadata": {"scalerAddress": ADDRESS}}]},
        "status": {"conditions": conditions},
    }


def failing(seconds: float = 10, *, is_there: bool = True, **more: Any) -> dict[str, Any]:
    """Fields of a snapshot in which KEDA has reported it as not ready for the given number of seconds."""
    since = NOW - timedelta(seconds=seconds)
    return {"scaled_object": scaled_object(**more), "scaler_fails_since": since, "scaler_is_there": is_there}


ROWS: list[tuple[str, Snapshot, str, str, str]] = [
    # the snapshot, the state, Ready, Scaled
    ("asleep, just now", asleep(**failing(9)), "Idle", "True ScaledToZero", "True AsWanted"),
    ("asleep", asleep(**failing(10)), "Failed", "False ScalerUnavailable", "True AsWanted"),
    ("asleep, for long", asleep(**failing(60)), "Failed", "False ScalerUnavailable", "False ScalerUnavailable"),
    ("asleep, KEDA is down as well", asleep(**failing(60), keda=keda(CRASHES)), "Failed", "False KedaDown",
     "False KedaDown"),
    ("asleep, paused", asleep(**{**failing(60), "scaled_object": PAUSED}), "Idle", "False ScalingPaused",
     "False ScalingPaused"),
    ("asleep, the ScaledObject terminates", asleep(**failing(60, deletionTimestamp=at(1))), "Idle", "True ScaledToZero",
     "True AsWanted"),
    ("serving", serving(**failing(59)), "Serving", "True Serving", "True AsWanted"),
    ("serving, for long", serving(**failing(60)), "Serving", "True Serving", "False ScalerUnavailable"),
    ("already waking", waking(**failing(59)), "Waking", "True Waking", "False Scaling"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("view", "state", "ready", "scaled"), [each[1:] for each in ROWS], ids=[each[0] for each in ROWS]
)
def test_a_model_that_needs_the_scaler_is_not_ready_and_one_that_serves_only_mentions_it(
    view: Snapshot, state: str, ready: str, scaled: str
) -> None:
    found = summed_up(reported_status(view))
    assert (found["state"], found["Ready"], found["Scaled"]) == (state, ready, scaled)
    assert found["Stalled"] == "False AsWanted"  # KEDA keeps polling


def test_without_a_deployment_the_model_waits_for_kserve() -> None:
    assert observe(model(), replace(asleep(**failing(99)), deployments=())).cause is None


WORDS = [
    ({}, f"KEDA can't reach the activator at {ADDRESS}, which a NetworkPolicy may block: {UNANSWERED}; "),
    ({"is_there": False}, f"KEDA can't reach the activator at {ADDRESS}, which has no ready replica: {UNANSWERED}; "),
    ({"reason": "ScaledObjectCheckFailed", "message": NO_METRICS}, f"KEDA can't reach the activator at {ADDRESS}"),
    ({"reason": "ScaledObjectCheckFailed", "message": NO_TARGET},
     f"KEDA can't scale with ScaledObject model: {NO_TARGET}; see the log of KEDA's operator."),
    ({"reason": "ErrorGettingCurrentReplicas", "message": "dial tcp 10.96.0.1:443: connect: connection refused"},
     "KEDA can't scale with ScaledObject model: dial tcp 10.96.0.1:443"),
    ({"reason": "ErrorScalingTarget", "message": "scale of it is forbidden"}, "model: scale of it is forbidden;"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "words"), WORDS, ids=[words[:60] for _, words in WORDS])
def test_the_cause_quotes_keda_and_names_the_address_that_it_cannot_reach(more: dict[str, Any], words: str) -> None:
    assert words in reported_status(asleep(**failing(**more)))["message"]


def test_while_the_failure_is_the_same_the_status_does_not_change() -> None:
    first = reported_status(asleep(**failing(60)))
    assert reported_status(asleep(**failing(900)), first) == first


@pytest.mark.parametrize("patience", [PASSES_WITHIN, LASTS_AFTER])
def test_a_reconcile_is_due_when_the_failure_would_be_reported(patience: timedelta) -> None:
    observation = observe(model(), asleep(**failing(patience.total_seconds() - 1)))
    assert observation.look_again_at == NOW + timedelta(seconds=1)


# --- since when ------------------------------------------------------------------------------------------------------

EARLIER = NOW - timedelta(minutes=3)


@pytest.mark.parametrize("observed", [None, scaled_object(None), scaled_object("Unknown"), scaled_object("True")])
def test_an_absent_or_unknown_condition_of_keda_is_not_a_failure(observed: Object | None) -> None:
    assert fails_since(observed, EARLIER, None, NOW) is None


def test_a_failure_counts_from_when_it_was_first_seen() -> None:
    assert fails_since(scaled_object(), None, None, NOW) == NOW
    assert fails_since(scaled_object(), EARLIER, None, NOW) == EARLIER


@pytest.mark.parametrize("view", [asleep(**failing(10)), serving(**failing(60))], ids=["asleep", "serving"])
def test_another_leader_keeps_reporting_the_failure_with_the_same_time(view: Snapshot) -> None:
    since = fails_since(scaled_object(), None, reported_status(view), NOW)
    assert since
    assert NOW - since >= LASTS_AFTER
