"""Objects as the API server in memory stores them; most belong to the LLMDeployment chat/llama."""

from __future__ import annotations

from typing import Any

from slipway.objects.kinds import DEPLOYMENT, ENDPOINT_SLICE, LLM_DEPLOYMENT, POD, Kind, Object

from support.builders.objects import manifest

LABELS = {"slipway.dev/llmdeployment": "llama", "app.kubernetes.io/managed-by": "slipway"}
CREATED = ["apply Service", "apply NetworkPolicy", "apply InferenceService"]


def kube_object(kind: Kind, name: str = "llama", namespace: str = "chat", **fields: Any) -> Object:
    """An object of a kind, in the namespace `chat` unless the kind is cluster-scoped."""
    metadata = {**({"namespace": namespace} if kind.namespaced else {}), **fields.pop("metadata", {})}
    return manifest(kind.api_version, kind.name, name, metadata=metadata, **fields)


def llm(**spec: Any) -> Object:
    """The LLMDeployment chat/llama. Each member of `spec` replaces the one here entirely."""
    return kube_object(
        LLM_DEPLOYMENT, spec={"model": {"uri": "pvc://models/llama"}, "engine": {"name": "llamacpp"}, **spec}
    )


def made_by_kserve(replicas: int = 0, *, owner: Object | None = None, **status: Any) -> Object:
    """The Deployment that KServe makes for the InferenceService `owner`."""
    owners = [{"uid": owner["metadata"]["uid"]}] if owner else []
    return kube_object(
        DEPLOYMENT,
        "llama-predictor",
        metadata={"labels": LABELS, "ownerReferences": owners},
        spec={"replicas": replicas, "template": {}},
        status={"replicas": replicas, "updatedReplicas": replicas, **status},
    )


def pod(*, is_ready: bool) -> Object:
    conditions = [{"type": "Ready", "status": str(is_ready), "lastTransitionTime": "2026-11-21T09:59:00Z"}]
    spec = {"containers": [{"name": "kserve-container"}]}
    metadata = {"labels": LABELS, "creationTimestamp": "2026-11-21T09:58:00Z"}
    return kube_object(POD, "llama-predictor-1", metadata=metadata, spec=spec, status={"conditions": conditions})


def activator(*addresses: str, service: str = "slipway-activator") -> Object:
    """The EndpointSlice of the activator's own Service, as Kubernetes writes it."""
    labels = {"slipway.dev/activator": service, "kubernetes.io/service-name": service}
    endpoints = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
    return kube_object(
        ENDPOINT_SLICE, f"{service}-1", "slipway-system", metadata={"labels": labels}, endpoints=endpoints
    )
