"""The Service that clients talk to. Kubernetes updates its endpoints by its selector, even while Slipway is down.

While no replica is ready, an EndpointSlice of ours adds the activator to it: see `activatorslice.py`.
"""

from __future__ import annotations

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment
from slipway.objects.kinds import SERVICE
from slipway.operator.rendering.desired import Child
from slipway.operator.rendering.metadata import child


def service(deployment: LLMDeployment, *, engine_port: int) -> Child:
    return child(
        SERVICE,
        deployment,
        spec={
            "selector": {names.OWNER_LABEL: deployment.metadata.name},
            "ports": [{"name": names.PORT_NAME, "port": 80, "targetPort": engine_port, "protocol": "TCP"}],
        },
    )
