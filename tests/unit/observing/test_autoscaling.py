"""What a HorizontalPodAutoscaler lacks to do its work, and when the status starts to report it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.reasons import Reason
from slipway.objects.kinds import Object
from slipway.observing.autoscaling import METRICS_COME_WITHIN
from slipway.observing.observation import observe
from slipway.observing.status import status_of
from support.builders.observed import NOW, condition, pod, snapshot
from support.builders.plans import SMALL

NO_API = (
    "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for "
    "resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource"
)
READY = pod(ready=True)  # 15 seconds before NOW
LATER = NOW + METRICS_COME_WITHIN


def autoscaler(kind: str = "ScalingActive", reason: str = "FailedGetContainerResourceMetric") -> Object:
    return {"status": {"conditions": [condition(kind, False, reason=reason, message=NO_API)]}}


def reported_status(view: Any, *, by: str = "HPA") -> Object:
    spec = {"model": {"uri": "pvc://gemma/"}, "scaling": {"autoscaler": by, "minReplicas": 1, "maxReplicas": 3}}
    metadata = {"name": "model", "namespace": "chat", "uid": "1", "generation": 1}
    deployment = LLMDeployment.model_validate({"metadata": metadata, "spec": spec})
    return status_of(1, SMALL, observe(deployment, view), None, view.now)


def scaled(status: Object) -> Object:
    return next(each for each in status["conditions"] if each["type"] == "Scaled")


def test_an_autoscaler_without_metrics_is_reported_with_what_it_lacks() -> None:
    status = reported_status(snapshot(READY, autoscaler=autoscaler(), now=LATER))
    assert status["state"] == "Degraded"
    assert (scaled(status)["status"], scaled(status)["reason"]) == ("False", Reason.METRICS_MISSING)
    assert scaled(status)["message"] == (f"{NO_API}. metrics-server provides the CPU usage: check that it is installed")


NOT_MISSING: dict[str, Any] = {
    "metrics may still arrive": snapshot(READY, autoscaler=autoscaler()),
    "no replica is ready": snapshot(pod(), autoscaler=autoscaler(), now=LATER),
    "at zero, where it is disabled": snapshot(READY, autoscaler=autoscaler(reason="ScalingDisabled"), now=LATER),
    "there is no autoscaler yet": snapshot(READY, now=LATER),
    "it has metrics": snapshot(
        READY, autoscaler={"status": {"conditions": [condition("ScalingActive", True)]}}, now=LATER
    ),
}


@pytest.mark.parametrize("view", NOT_MISSING.values(), ids=NOT_MISSING)
def test_metrics_are_not_reported_as_missing(view: Any) -> None:
    assert scaled(reported_status(view))["reason"] != Reason.METRICS_MISSING


def test_an_autoscaler_of_another_mode_is_ignored() -> None:
    assert (
        scaled(reported_status(snapshot(READY, autoscaler=autoscaler(), now=LATER), by="None"))["reason"]
        == Reason.AS_WANTED
    )


def test_a_reconcile_is_due_when_metrics_should_have_arrived() -> None:
    spec = {"model": {"uri": "pvc://gemma/"}, "scaling": {"autoscaler": "HPA", "minReplicas": 1}}
    deployment = LLMDeployment.model_validate({"metadata": {"name": "m", "namespace": "c"}, "spec": spec})
    view = observe(deployment, snapshot(READY, autoscaler=autoscaler()))
    assert view.look_again_at == NOW - timedelta(seconds=15) + METRICS_COME_WITHIN
