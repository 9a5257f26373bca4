"""What the operator says about `spec.slo`: in the status, and in its metrics."""

from __future__ import annotations

from slipway.objects.kinds import INFERENCE_SERVICE, LLM_DEPLOYMENT
from slipway.operator.reconciling.metrics import OperatorMetrics
from slipway.process.metrics import MetricsRegistry
from support.programs.operator_loop import Loop, status

OBJECTIVES = {"ttftP95": "500ms", "availability": "99.5%", "window": "168h"}


def page(loop: Loop) -> list[str]:
    """What Prometheus reads of the objectives."""
    registry = MetricsRegistry("slipway")
    OperatorMetrics(registry).watch_objectives(loop.memories.objectives)
    lines = registry.page().decode().splitlines()
    return [line for line in lines if line.startswith("slipway_slo")]


async def test_objectives_are_metrics_with_the_boundary_to_join_on(loop: Loop) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"slo": OBJECTIVES}})
    await loop.settle()
    assert page(loop) == [
        'slipway_slo_objective{le="0.5",llmdeployment="llama",namespace="chat",slo="ttft"} 0.95',
        'slipway_slo_availability_objective{llmdeployment="llama",namespace="chat"} 0.995',
        'slipway_slo_window_seconds{llmdeployment="llama",namespace="chat"} 604800.0',
    ]
    assert status(loop)["slo"]["boundaries"] == {"ttftP95": "0.5"}


async def test_objectives_that_are_removed_are_gone_from_status_and_metrics(loop: Loop) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"slo": OBJECTIVES}})
    await loop.settle()
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"slo": None}})
    await loop.settle()
    assert page(loop) == []
    assert "slo" not in status(loop)


async def test_an_llmdeployment_that_is_deleted_leaves_no_metrics(loop: Loop) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"slo": OBJECTIVES}})
    await loop.settle()
    loop.delete(LLM_DEPLOYMENT)
    await loop.settle()
    assert page(loop) == []


async def test_changing_objectives_changes_no_pod(loop: Loop) -> None:
    await loop.settle()
    before = loop.api.get(INFERENCE_SERVICE)["spec"]
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"slo": OBJECTIVES}})
    await loop.settle()
    assert loop.api.get(INFERENCE_SERVICE)["spec"] == before
