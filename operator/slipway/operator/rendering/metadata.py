"""The metadata of all that is rendered: name, owner, labels."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment
from slipway.operator.rendering.desired import Object


def owned(deployment: LLMDeployment, *, labels: Mapping[str, str] = {}, annotations: Mapping[str, str] = {}) -> Object:
    """Named after the deployment, and removed with it by garbage collection."""
    whose = deployment.metadata
    metadata: Object = {
        "name": whose.name,
        "namespace": whose.namespace,
        "labels": {**labels, **our_labels(whose.name)},
        "ownerReferences": [
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": whose.name,
                "uid": whose.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    return metadata | ({"annotations": dict(annotations)} if annotations else {})


def our_labels(name: str) -> dict[str, str]:
    return {names.OWNER_LABEL: name, names.MANAGED_BY_LABEL: names.MANAGED_BY}
