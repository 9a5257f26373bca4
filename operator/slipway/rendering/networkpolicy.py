"""Who reaches the pods: clients the engine's port, Slipway and Prometheus the metrics too, nobody anything else.

An engine's port guards little by itself; so what isn't needed from outside is closed, and `access.allowFrom` closes
the rest. Kubelets always get through to their own pods' probes.
"""

from __future__ import annotations

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment, Peer
from slipway.rendering.desired import Object, World
from slipway.rendering.metadata import owned

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
PROMETHEUS: Object = {
    "namespaceSelector": {},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
}


def network_policy(deployment: LLMDeployment, world: World, *, engine_port: int) -> Object:
    slipway: Object = {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: world.slipway_namespace}}}
    watchers = {"from": [slipway, PROMETHEUS], "ports": _ports(engine_port, names.RUNTIME_PORT)}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owned(deployment),
        "spec": {
            "podSelector": {"matchLabels": {names.OWNER_LABEL: deployment.metadata.name}},
            "policyTypes": ["Ingress"],
            "ingress": [*_clients(deployment.spec.access.allow_from, engine_port), watchers],
        },
    }


def _clients(allowed: list[Peer] | None, engine_port: int) -> list[Object]:
    """Everybody by default; nobody by an empty list, which as a NetworkPolicy's `from` would mean everybody."""
    if allowed is None:
        return [{"ports": _ports(engine_port)}]
    peers = [peer.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True) for peer in allowed]
    return [{"from": peers, "ports": _ports(engine_port)}] if peers else []


def _ports(*numbers: int) -> list[Object]:
    return [{"port": number, "protocol": "TCP"} for number in numbers]
