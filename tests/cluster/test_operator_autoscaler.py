"""`autoscaler: HPA`: a HorizontalPodAutoscaler of our own, and the controller that acts on it."""

from __future__ import annotations

import pytest
from support.deployments import NAME, PREDICTOR, conditions, message, on_own_engine, own_runtime, settled
from support.kube import Kube, Object

pytestmark = pytest.mark.usefixtures("slipway", "weights")

HPA = "horizontalpodautoscaler"
BY_HPA: Object = {"autoscaler": "HPA", "minReplicas": 1, "maxReplicas": 3}


async def test_an_autoscaler_is_made_kept_as_it_should_be_and_removed_when_the_mode_changes(kube: Kube) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine(scaling=BY_HPA), "Serving")
    made = await kube.get(HPA, NAME)
    assert made["metadata"]["ownerReferences"][0]["kind"] == "LLMDeployment"
    await kube.patch(HPA, NAME, {"spec": {"maxReplicas": 9}})
    await kube.wait_for(HPA, NAME, lambda found: found["spec"]["maxReplicas"] == 3)
    await kube.delete(HPA, NAME)
    await kube.wait_for(HPA, NAME, lambda found: found["metadata"]["uid"] != made["metadata"]["uid"])
    await kube.patch("llmdeployment", NAME, {"spec": {"scaling": {"autoscaler": "None"}}})
    await kube.wait_gone(HPA, NAME)
    assert (await kube.get("deployment", PREDICTOR))["spec"]["replicas"] == 1


@pytest.mark.slow
async def test_a_model_at_zero_is_brought_to_its_minimum_where_an_autoscaler_would_leave_it(kube: Kube) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine(replicas=0), "Idle")
    await kube.patch("llmdeployment", NAME, {"spec": {"scaling": BY_HPA | {"minReplicas": 2}}})
    await kube.wait_for("deployment", PREDICTOR, lambda made: made["status"].get("readyReplicas") == 2)
    await kube.wait_for(HPA, NAME, lambda found: found["spec"]["minReplicas"] == 2)


@pytest.mark.slow
@pytest.mark.timeout(300, func_only=True)
async def test_an_autoscaler_that_gets_no_metrics_is_told_with_what_it_lacks(kube: Kube) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine(scaling=BY_HPA), "Serving")
    told = await kube.wait_for("llmdeployment", NAME, is_without_metrics, timeout=200)
    assert "slipway_requests_in_flight" in message(told, "Scaled")
    assert "An adapter of Prometheus's metrics" in message(told, "Scaled")
    assert told["status"]["state"] == "Degraded"


def is_without_metrics(thing: Object) -> bool:
    return conditions(thing).get("Scaled") == ("False", "MetricsMissing")
