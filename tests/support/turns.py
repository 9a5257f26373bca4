"""An LLMDeployment named llama and what is around it in a `Loop`, and what its status says after a turn."""

from __future__ import annotations

from typing import Any

from slipway.objects.kinds import DEPLOYMENT, LLM_DEPLOYMENT, POD, Kind, Object

from support.small_cluster import Loop

LABELS = {"slipway.dev/llmdeployment": "llama", "app.kubernetes.io/managed-by": "slipway"}
CREATED = ["apply Service", "apply NetworkPolicy", "apply InferenceService"]


def thing(kind: Kind, name: str = "llama", namespace: str = "chat", **fields: Any) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if kind.namespaced else {}), **fields.pop("metadata", {})}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **fields}


def llm(**spec: Any) -> Object:
    return thing(LLM_DEPLOYMENT, spec={"model": {"uri": "pvc://models/llama"}, "engine": {"name": "llamacpp"}, **spec})


def made_by_kserve(replicas: int = 0, *, owner: Object | None = None, **status: Any) -> Object:
    """For the InferenceService `owner`."""
    owners = [{"uid": owner["metadata"]["uid"]}] if owner else []
    return thing(
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
    return thing(POD, "llama-predictor-1", metadata=metadata, spec=spec, status={"conditions": conditions})


def status(loop: Loop) -> Object:
    found: Object = loop.api.get(LLM_DEPLOYMENT).get("status", {})
    return found


def condition(loop: Loop, type_: str) -> Object:
    [found] = [each for each in status(loop)["conditions"] if each["type"] == type_]
    found_one: Object = found
    return found_one


def cause(loop: Loop) -> tuple[str, str]:
    """The state and the reason for which it isn't ready."""
    return status(loop)["state"], condition(loop, "Ready")["reason"]
