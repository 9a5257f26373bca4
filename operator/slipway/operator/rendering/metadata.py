"""What all rendered objects share: the name of the LLMDeployment, its labels, and the owner reference to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment
from slipway.objects.kinds import Kind, Object, ObjectKey
from slipway.operator.rendering.desired import Child


def child(
    kind: Kind,
    deployment: LLMDeployment,
    *,
    name: str | None = None,
    labels: Mapping[str, str] = {},
    annotations: Mapping[str, str] = {},
    **fields: Any,
) -> Child:
    """An object that belongs to the deployment, with its name unless another is given, and with these fields."""
    metadata = _owned(deployment, name or deployment.metadata.name, labels)
    if annotations:
        metadata["annotations"] = dict(annotations)
    return Child(kind, {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **fields})


def key_of_child(kind: Kind, deployment: LLMDeployment) -> ObjectKey:
    """Names the child of that kind, to delete it."""
    return ObjectKey(kind, deployment.metadata.namespace, deployment.metadata.name)


def our_labels(name: str) -> dict[str, str]:
    return {names.OWNER_LABEL: name, names.MANAGED_BY_LABEL: names.MANAGED_BY}


def _owned(deployment: LLMDeployment, name: str, labels: Mapping[str, str]) -> Object:
    """Garbage collection removes the object together with the deployment."""
    owner = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": deployment.metadata.name,
        "uid": deployment.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "name": name,
        "namespace": deployment.metadata.namespace,
        "labels": {**labels, **our_labels(deployment.metadata.name)},
        "ownerReferences": [owner],
    }
