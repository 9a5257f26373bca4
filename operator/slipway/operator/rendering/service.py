"""The Service that clients talk to. Its selector lets Kubernetes itself keep its endpoints, also while Slipway is down.

While no replica is ready, an EndpointSlice of ours adds the activator to it; that one belongs to scaling, not here.
"""

from __future__ import annotations

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment
from slipway.operator.rendering.desired import Object
from slipway.operator.rendering.metadata import owned


def service(deployment: LLMDeployment, *, engine_port: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owned(deployment),
        "spec": {
            "selector": {names.OWNER_LABEL: deployment.metadata.name},
            "ports": [{"name": names.PORT_NAME, "port": 80, "targetPort": engine_port, "protocol": "TCP"}],
        },
    }
