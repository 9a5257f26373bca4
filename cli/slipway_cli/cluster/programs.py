"""Which Deployments are the programs of Slipway, KServe and KEDA. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.objects.kinds import Object

PROGRAMS = {
    "slipway-operator": "it plans models and reports on them",
    "slipway-activator": "it holds requests to models at zero, and wakes them",
    "kserve-controller-manager": "it makes the Deployments of models",
    "keda-operator": "it scales models",
}
"""The Deployments without which no model is served, and what each does."""
_HOMES = {
    "slipway-operator": "slipway-system",
    "slipway-activator": "slipway-system",
    "kserve-controller-manager": "kserve",
    "keda-operator": "keda",
}
USUAL_NAMESPACES = tuple(dict.fromkeys(_HOMES.values()))


def program(deployments: Sequence[Object], name: str) -> list[Object]:
    """Tenants may give a Deployment the same name: it counts only where the usual namespace has none."""
    found = [each for each in deployments if each["metadata"]["name"] == name]
    usual = [each for each in found if each["metadata"].get("namespace") == _HOMES[name]]
    return usual or found
