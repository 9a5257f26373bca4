"""The PodMonitor by which Prometheus finds the engine's metrics. Only where its CRD exists and the spec wants it.

It selects the port by number, because a ServingRuntime from elsewhere may not name its port. The engine's own metric of
requests in flight is scraped a second time under our runtime's name for it, so that autoscalers and alert rules know
one name for all engines.

A pod writes its own metrics, so no label that it writes replaces one of Prometheus: `namespace`, `pod`, and
`llmdeployment`, which joins its series with those of the operator. Nor may it write without limits.
"""

from __future__ import annotations

import re

from slipway.api import names
from slipway.api.engine_notes import Series
from slipway.api.llmdeployment import LLMDeployment
from slipway.contract.pod import IN_FLIGHT_METRIC
from slipway.objects.kinds import POD_MONITOR, Object, ObjectKey
from slipway.observing.snapshot import Snapshot
from slipway.operator.rendering.desired import Child
from slipway.operator.rendering.engines.engine import RenderedEngine
from slipway.operator.rendering.metadata import child, key_of_child

LIMITS = {"sampleLimit": 20_000, "labelLimit": 128, "labelNameLengthLimit": 256, "labelValueLengthLimit": 4096}
"""Of one scrape, which fails as a whole beyond them. An engine's page has some hundred to some thousand samples."""

ENGINE_METRIC = "engine_metric"  # a label with the engine's own name of the metric


def pod_monitor(deployment: LLMDeployment, snapshot: Snapshot, engine: RenderedEngine) -> Child | ObjectKey | None:
    """The object to apply, or the key of the one to delete, or None where the cluster doesn't serve the kind."""
    if POD_MONITOR not in snapshot.kinds:
        return None
    if not deployment.spec.observability.monitor:
        return key_of_child(POD_MONITOR, deployment)
    named = {"targetLabel": "llmdeployment", "replacement": deployment.metadata.name}
    endpoint: Object = {
        "portNumber": engine.metrics_port,
        "path": engine.metrics_path,
        "interval": "15s",
        "relabelings": [named],
    }
    endpoints = [endpoint]
    if engine.in_flight:
        second = {"targetLabel": "endpoint", "replacement": "in-flight"}
        endpoints.append(endpoint | {"relabelings": [named, second], "metricRelabelings": _under_our_name(engine)})
    return child(
        POD_MONITOR,
        deployment,
        spec={
            "selector": {"matchLabels": {names.OWNER_LABEL: deployment.metadata.name}},
            "podMetricsEndpoints": endpoints,
            **LIMITS,
        },
    )


def _under_our_name(engine: RenderedEngine) -> list[Object]:
    """Keeps only these series, each with a label of its own so that no two collide."""
    return [
        *(_labelled(series) for series in engine.in_flight),
        {"action": "keep", "sourceLabels": [ENGINE_METRIC], "regex": ".+"},
        {"targetLabel": "__name__", "replacement": IN_FLIGHT_METRIC},
    ]


def _labelled(series: Series) -> Object:
    labels, values = [label for label, _ in series.labels], [value for _, value in series.labels]
    return {
        "sourceLabels": ["__name__", *labels],
        "regex": ";".join(map(re.escape, (series.name, *values))),
        "targetLabel": ENGINE_METRIC,
        "replacement": series.name,
    }
