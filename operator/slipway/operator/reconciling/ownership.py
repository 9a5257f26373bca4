"""Whose an object is: its controller says so, and where it has none, our labels. Pure."""

from __future__ import annotations

from slipway.api.names import KIND, MANAGED_BY, MANAGED_BY_LABEL, OWNER_LABEL
from slipway.objects.kinds import INFERENCE_SERVICE, Object
from slipway.objects.metadata import controller_of, labels_of


def is_foreign(found: Object, name: str, uid: str) -> bool:
    """Whether it belongs to others than the LLMDeployment with this name and uid.

    An object with our labels and without a controller is ours, so that deployments can be orphaned and restored.
    """
    owner = controller_of(found)
    return bool(owner["uid"] != uid) if owner else not _has_our_labels(found, name)


def is_predecessors(found: Object, name: str, uid: str) -> bool:
    """Whether it belongs to a deleted LLMDeployment of the same name."""
    owner = controller_of(found) or {}
    return (owner.get("kind"), owner.get("name")) == (KIND, name) and owner["uid"] != uid


def is_kserves(found: Object, name: str) -> bool:
    """Whether KServe made it for an InferenceService of this name, deleted or not. A restored object has no owner."""
    if owner := controller_of(found):
        return (owner.get("kind"), owner.get("name")) == (INFERENCE_SERVICE.name, name)
    return _has_our_labels(found, name)


def _has_our_labels(found: Object, name: str) -> bool:
    labels = labels_of(found)
    return (labels.get(OWNER_LABEL), labels.get(MANAGED_BY_LABEL)) == (name, MANAGED_BY)
