"""Who reaches the pods: clients the engine's port, the activator the runtime's too, Prometheus the metrics' alone.

An engine's port guards little by itself; so what isn't needed from outside is closed, and `access.allowFrom` closes
the rest. Kubelets always get through to their own pods' probes.
"""

from __future__ import annotations

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment, Peer
from slipway.contract.pod import RUNTIME_PORT
from slipway.operator.rendering.desired import Object, World
from slipway.operator.rendering.engines.engine import Engine
from slipway.operator.rendering.metadata import owned

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
NAME_LABEL = "app.kubernetes.io/name"


def network_policy(deployment: LLMDeployment, world: World, engine: Engine) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owned(deployment),
        "spec": {
            "podSelector": {"matchLabels": {names.OWNER_LABEL: deployment.metadata.name}},
            "policyTypes": ["Ingress"],
            "ingress": [
                *_clients(deployment.spec.access.allow_from, engine.port),
                {"from": [_activator(world)], "ports": _ports(*_asked(engine))},
                *_prometheus(world.prometheus_namespaces, engine.metrics_port),
            ],
        },
    }


def _asked(engine: Engine) -> list[int]:
    """By the activator: it forwards requests, reads metrics, and asks whether a replica is ready."""
    return [*dict.fromkeys((engine.port, RUNTIME_PORT, engine.metrics_port, engine.readiness_port))]


def _activator(world: World) -> Object:
    return {
        "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: world.slipway_namespace}},
        "podSelector": {"matchLabels": {NAME_LABEL: world.activator_service}},
    }


def _prometheus(namespaces: tuple[str, ...], metrics_port: int) -> list[Object]:
    """By the name of its namespace, which nobody can give to another: a pod's labels are whatever its owner likes."""
    if not namespaces:
        return []
    among: Object = {"key": NAMESPACE_LABEL, "operator": "In", "values": list(namespaces)}
    return [{"from": [{"namespaceSelector": {"matchExpressions": [among]}}], "ports": _ports(metrics_port)}]


def _clients(allowed: list[Peer] | None, engine_port: int) -> list[Object]:
    """Everybody by default; nobody by an empty list, which as a NetworkPolicy's `from` would mean everybody."""
    if allowed is None:
        return [{"ports": _ports(engine_port)}]
    peers = [peer.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True) for peer in allowed]
    return [{"from": peers, "ports": _ports(engine_port)}] if peers else []


def _ports(*numbers: int) -> list[Object]:
    return [{"port": number, "protocol": "TCP"} for number in numbers]
