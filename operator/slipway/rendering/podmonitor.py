"""The PodMonitor by which Prometheus finds the engine's metrics. Only where its CRD exists and the spec wants it.

By the port's number, not its name: a ServingRuntime that somebody else made may not name it.
"""

from __future__ import annotations

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment
from slipway.rendering.desired import POD_MONITOR, Object, ObjectReference, World
from slipway.rendering.metadata import owned

API_VERSION, KIND = "monitoring.coreos.com/v1", "PodMonitor"


def pod_monitor(deployment: LLMDeployment, world: World, *, port: int) -> Object | ObjectReference | None:
    """The object to apply, or the one to delete, or nothing where the cluster doesn't know the kind."""
    whose = deployment.metadata
    if POD_MONITOR not in world.kinds:
        return None
    if not deployment.spec.observability.monitor:
        return ObjectReference(API_VERSION, KIND, whose.namespace, whose.name)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": owned(deployment),
        "spec": {
            "selector": {"matchLabels": {names.OWNER_LABEL: whose.name}},
            "podMetricsEndpoints": [{"portNumber": port, "path": "/metrics", "interval": "15s"}],
        },
    }
