"""The Service that clients talk to. Its selector lets Kubernetes itself keep its endpoints, also while Slipway is down.

While no replica is ready, an EndpointSlice of ours adds the activator to it; that one belongs to scaling, not here.
"""

from __future__ import annotations

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment
from slipway.rendering.desired import Object, World
from slipway.rendering.metadata import owned


def service(deployment: LLMDeployment, world: World, *, engine_port: int) -> Object:
    annotations = {names.ACTIVATOR_PORT_ANNOTATION: str(world.activator_port)} if world.activator_port else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owned(deployment, annotations=annotations),
        "spec": {
            "selector": {names.OWNER_LABEL: deployment.metadata.name},
            "ports": [{"name": names.PORT_NAME, "port": 80, "targetPort": engine_port, "protocol": "TCP"}],
        },
    }
