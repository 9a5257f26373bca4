"""Reads the metadata that every object has."""

from __future__ import annotations

from datetime import datetime

from slipway.objects.kinds import Object
from slipway.objects.times import parse_time


def name_of(found: Object) -> str:
    return str(found["metadata"]["name"])


def namespace_of(found: Object) -> str:
    """Empty for objects of the cluster."""
    return str(found["metadata"].get("namespace") or "")


def uid_of(found: Object) -> str:
    return str(found["metadata"]["uid"])


def resource_version_of(found: Object) -> int:
    """Kubernetes promises that the versions of one kind can be compared."""
    return int(found["metadata"]["resourceVersion"])


def labels_of(found: Object) -> dict[str, str]:
    labels: dict[str, str] = found["metadata"].get("labels") or {}
    return labels


def annotations_of(found: Object) -> dict[str, str]:
    annotations: dict[str, str] = found["metadata"].get("annotations") or {}
    return annotations


def created_at(found: Object) -> datetime | None:
    return parse_time(found["metadata"].get("creationTimestamp"))


def is_being_deleted(found: Object) -> bool:
    return "deletionTimestamp" in found["metadata"]


def owners_of(found: Object) -> list[Object]:
    owners: list[Object] = found["metadata"].get("ownerReferences") or []
    return owners


def controller_of(found: Object) -> Object | None:
    """The owner reference that says `controller: true`; an object has one at most."""
    return next((each for each in owners_of(found) if each.get("controller")), None)
