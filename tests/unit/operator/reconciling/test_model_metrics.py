"""The metrics of one LLMDeployment, as Prometheus reads them."""

from __future__ import annotations

from slipway.api.model_key import ModelKey
from slipway.objects.kinds import Object
from slipway.observing.figures import figures_of
from slipway.operator.reconciling.model_counts import ModelCounts
from slipway.operator.reconciling.model_metrics import MODEL_METRICS, Seen, samples_of
from slipway.process.exposition import ObjectMetrics


def page(slo: Object | None) -> list[str]:
    """The lines about objectives."""
    metadata = {"name": "llama", "namespace": "chat"}
    figures = figures_of({"metadata": metadata, "spec": {"model": {"uri": "pvc://m/"}, "slo": slo}})
    seen = Seen(ModelKey("chat", "llama"), figures, ModelCounts())
    written = b"".join(ObjectMetrics(MODEL_METRICS, lambda: [seen], samples_of).in_steps()).decode()
    return [line for line in written.splitlines() if line.startswith("slipway_slo")]


def test_objectives_have_the_boundary_to_join_on() -> None:
    assert page({"ttftP95": "500ms", "e2eP99": "30s", "availability": "99.5%", "window": "168h"}) == [
        'slipway_slo_objective{namespace="chat",llmdeployment="llama",slo="ttft",le="0.5"} 0.95',
        'slipway_slo_objective{namespace="chat",llmdeployment="llama",slo="e2e",le="30.0"} 0.99',
        'slipway_slo_boundary_seconds{namespace="chat",llmdeployment="llama",slo="ttft"} 0.5',
        'slipway_slo_boundary_seconds{namespace="chat",llmdeployment="llama",slo="e2e"} 30.0',
        'slipway_slo_availability_objective{namespace="chat",llmdeployment="llama"} 0.995',
        'slipway_slo_window_seconds{namespace="chat",llmdeployment="llama"} 604800.0',
    ]


def test_without_objectives_there_are_no_series() -> None:
    assert page(None) == []
