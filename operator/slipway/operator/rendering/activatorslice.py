"""The EndpointSlice that adds the activator to the Service of a deployment.

It always exists, in one of two forms:

| ready replicas | the slice's endpoints | where requests go |
|---|---|---|
| none | ready | to the activator, which holds them |
| some | terminating, and serving | to the replicas; to the activator as soon as none of them is ready any more |

The second form relies on a rule of Kubernetes: a Service without a ready endpoint uses endpoints that are terminating
and still serving. So requests are held from the moment at which the last replica fails, even while the operator is
down, and no program has to react in time.
"""

from __future__ import annotations

from collections.abc import Sequence

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment
from slipway.objects.kinds import ENDPOINT_SLICE
from slipway.operator.rendering.activator import ChosenActivator
from slipway.operator.rendering.desired import Child
from slipway.operator.rendering.metadata import child

SLICE_MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
"""Kubernetes' own label: its EndpointSlice controller leaves slices alone that have another manager."""


def activator_slice(deployment: LLMDeployment, activator: ChosenActivator, *, has_ready: bool) -> Child | None:
    """None if no activator is installed, or the deployment has no port of it yet."""
    if activator.addresses is None or activator.port is None:
        return None
    addresses = _of_one_family(activator.addresses)
    name = deployment.metadata.name
    return child(
        ENDPOINT_SLICE,
        deployment,
        name=names.activator_slice_name(name),
        labels={
            names.SERVICE_LABEL: name,
            names.ACTIVATOR_LABEL: activator.service,
            SLICE_MANAGED_BY_LABEL: names.MANAGED_BY,
        },
        addressType="IPv6" if any(":" in each for each in addresses) else "IPv4",
        ports=[{"name": names.PORT_NAME, "port": activator.port, "protocol": "TCP"}],
        endpoints=[{"addresses": [each], "conditions": conditions(leads=not has_ready)} for each in addresses],
    )


def conditions(*, leads: bool) -> dict[str, bool]:
    """Otherwise the endpoint is on standby."""
    return {"ready": leads, "serving": True, "terminating": not leads}


def _of_one_family(addresses: Sequence[str]) -> list[str]:
    """A slice has addresses of one family; IPv4 where there are both."""
    return [each for each in addresses if ":" not in each] or list(addresses)
