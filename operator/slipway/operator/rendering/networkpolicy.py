"""Who reaches the pods: clients the engine's port, the activator the runtime's port too, the operator that one only,
Prometheus the metrics only.

An engine protects its port poorly, so all ports that no one needs are closed, and `access.allowFrom` restricts the
rest. Probes by the kubelet of the pod's own node always pass.
"""

from __future__ import annotations

from slipway.api import names
from slipway.api.exposure import Peer
from slipway.api.llmdeployment import LLMDeployment
from slipway.contract.pod import RUNTIME_PORT
from slipway.objects.kinds import NETWORK_POLICY, Object
from slipway.observing.snapshot import Snapshot
from slipway.operator.installation import Installation
from slipway.operator.planning.engines import is_ours
from slipway.operator.rendering.activator import activator_for
from slipway.operator.rendering.desired import Child
from slipway.operator.rendering.engines.engine import RenderedEngine
from slipway.operator.rendering.metadata import child
from slipway.operator.rendering.weights import fetches

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
NAME_LABEL = "app.kubernetes.io/name"
OPERATOR = "slipway-operator"  # that label of its pods


def network_policy(
    deployment: LLMDeployment, snapshot: Snapshot, installation: Installation, engine: RenderedEngine
) -> Child:
    activator = _program(installation.namespace, activator_for(snapshot).service)
    return child(
        NETWORK_POLICY,
        deployment,
        spec={
            "podSelector": {"matchLabels": {names.OWNER_LABEL: deployment.metadata.name}},
            "policyTypes": ["Ingress"],
            "ingress": [
                *_clients(deployment.spec.access.allow_from, engine.port),
                {"from": [activator], "ports": _ports(*_ports_of_activator(engine))},
                *(_operator(installation.namespace) if _answers_operator(deployment, installation, engine) else []),
                *_prometheus(installation.prometheus_namespaces, engine.metrics_port),
            ],
        },
    )


def _ports_of_activator(engine: RenderedEngine) -> list[int]:
    """The activator forwards requests, reads metrics, and polls whether a replica is ready."""
    return [*dict.fromkeys((engine.port, RUNTIME_PORT, engine.metrics_port, engine.readiness_port))]


def _program(namespace: str, name: str) -> Object:
    return {
        "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}},
        "podSelector": {"matchLabels": {NAME_LABEL: name}},
    }


def _answers_operator(deployment: LLMDeployment, installation: Installation, engine: RenderedEngine) -> bool:
    """Whether its fetcher reports how far it is, or its engine what it has measured."""
    return is_ours(engine.name) or (installation.fetcher is not None and fetches(deployment.spec))


def _operator(namespace: str) -> list[Object]:
    return [{"from": [_program(namespace, OPERATOR)], "ports": _ports(RUNTIME_PORT)}]


def _prometheus(namespaces: tuple[str, ...], metrics_port: int) -> list[Object]:
    """By the name of its namespace, which can't be forged; any owner of a pod can choose the pod's labels."""
    if not namespaces:
        return []
    among: Object = {"key": NAMESPACE_LABEL, "operator": "In", "values": list(namespaces)}
    return [{"from": [{"namespaceSelector": {"matchExpressions": [among]}}], "ports": _ports(metrics_port)}]


def _clients(allowed: list[Peer] | None, engine_port: int) -> list[Object]:
    """All clients by default; none with an empty list, which as a NetworkPolicy's `from` would mean all."""
    if allowed is None:
        return [{"ports": _ports(engine_port)}]
    peers = [peer.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True) for peer in allowed]
    return [{"from": peers, "ports": _ports(engine_port)}] if peers else []


def _ports(*numbers: int) -> list[Object]:
    return [{"port": number, "protocol": "TCP"} for number in numbers]
