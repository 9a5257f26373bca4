"""The PodMonitor by which Prometheus finds the engine's metrics. Only where its CRD exists and the spec wants it.

By the port's number, not its name: a ServingRuntime that somebody else made may not name it. What its engine calls the
requests that it has is read a second time, under the name that our own runtime gives them: autoscalers and rules know
one name for all engines.
"""

from __future__ import annotations

import re

from slipway.api import names
from slipway.api.engine_notes import Series
from slipway.api.llmdeployment import LLMDeployment
from slipway.contract.pod import IN_FLIGHT_METRIC
from slipway.operator.rendering.desired import POD_MONITOR, Object, ObjectReference, World
from slipway.operator.rendering.engines.engine import Engine
from slipway.operator.rendering.metadata import owned

API_VERSION, KIND = "monitoring.coreos.com/v1", "PodMonitor"
ENGINE_METRIC = "engine_metric"  # a label: what the engine calls it


def pod_monitor(deployment: LLMDeployment, world: World, engine: Engine) -> Object | ObjectReference | None:
    """The object to apply, or the one to delete, or nothing where the cluster doesn't know the kind."""
    whose = deployment.metadata
    if POD_MONITOR not in world.kinds:
        return None
    if not deployment.spec.observability.monitor:
        return ObjectReference(API_VERSION, KIND, whose.namespace, whose.name)
    place: Object = {"portNumber": engine.metrics_port, "path": engine.metrics_path, "interval": "15s"}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": owned(deployment),
        "spec": {
            "selector": {"matchLabels": {names.OWNER_LABEL: whose.name}},
            "podMetricsEndpoints": [place, *([place | _under_our_name(engine)] if engine.in_flight else [])],
        },
    }


def _under_our_name(engine: Engine) -> Object:
    """These alone, and each with a label of its own, so that no two become one."""
    return {
        "relabelings": [{"targetLabel": "endpoint", "replacement": "in-flight"}],
        "metricRelabelings": [
            *(_labelled(series) for series in engine.in_flight),
            {"action": "keep", "sourceLabels": [ENGINE_METRIC], "regex": ".+"},
            {"targetLabel": "__name__", "replacement": IN_FLIGHT_METRIC},
        ],
    }


def _labelled(series: Series) -> Object:
    labels, values = [label for label, _ in series.labels], [value for _, value in series.labels]
    return {
        "sourceLabels": ["__name__", *labels],
        "regex": ";".join(map(re.escape, (series.name, *values))),
        "targetLabel": ENGINE_METRIC,
        "replacement": series.name,
    }
