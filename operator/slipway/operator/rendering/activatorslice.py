"""The EndpointSlice by which the Service of a deployment leads to the activator as well.

It is always there, in one of two ways:

| replicas that are ready | the slice's endpoints | where requests go |
|---|---|---|
| none | ready | to the activator, which holds them |
| some | terminating, and serving | to the replicas; to the activator at once when none of them is ready any more |

The second way relies on what Kubernetes does with a Service that has no ready endpoint: it uses those that are
terminating and still serve. So from the moment at which the last replica fails, requests are held, even while the
operator is down; nobody has to be quick.
"""

from __future__ import annotations

from collections.abc import Sequence

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment
from slipway.operator.rendering.desired import Object, World
from slipway.operator.rendering.metadata import owned

MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"


def activator_slice(deployment: LLMDeployment, world: World) -> Object | None:
    """None: there is no activator, or no port of it that belongs to the deployment."""
    if world.activator is None or world.activator_port is None:
        return None
    addresses = _of_one_family(world.activator)
    whose = deployment.metadata.name
    labels = {
        names.SERVICE_LABEL: whose,
        names.ACTIVATOR_LABEL: world.activator_service,
        MANAGED_BY_LABEL: names.MANAGED_BY,
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": owned(deployment, labels=labels) | {"name": names.activator_slice(whose)},
        "addressType": "IPv6" if any(":" in each for each in addresses) else "IPv4",
        "ports": [{"name": names.PORT_NAME, "port": world.activator_port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [each], "conditions": conditions(leads=not world.has_ready)} for each in addresses],
    }


def conditions(*, leads: bool) -> dict[str, bool]:
    """Else it stands by."""
    return {"ready": leads, "serving": True, "terminating": not leads}


def _of_one_family(addresses: Sequence[str]) -> list[str]:
    """A slice has addresses of one kind; IPv4 where there are both."""
    return [each for each in addresses if ":" not in each] or list(addresses)
