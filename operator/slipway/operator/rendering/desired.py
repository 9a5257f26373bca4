"""What rendering returns: the objects that there should be, and what the status reports of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slipway.api.reasons import Reason
from slipway.objects.kinds import Kind, Object, ObjectKey
from slipway.objects.metadata import name_of
from slipway.operator.planning import Plan


@dataclass(frozen=True)
class Child:
    """An object to apply. Its kind is known from the start, so that it never has to be recognised."""

    kind: Kind
    manifest: Object  # complete, as the API server takes it

    @property
    def name(self) -> str:
        return name_of(self.manifest)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class ReplicaBounds:
    """A Deployment whose replicas Slipway itself keeps within bounds, through the scale subresource.

    Only where no autoscaler does it: replicas have one writer. KServe's class `external` leaves the count alone.
    """

    deployment: str
    at_least: int
    at_most: int


@dataclass(frozen=True)
class Claimed:
    """The claim of a cache."""

    child: Child
    is_demanded: bool = False  # by the spec: no replica starts without it


@dataclass(frozen=True, kw_only=True)
class Desired:
    apply: tuple[Child, ...]  # in this order
    delete: tuple[ObjectKey, ...] = ()  # only if they are ours
    replicas: ReplicaBounds | None = None
    remarks: tuple[str, ...] = ()  # a sentence for each temporary state, and for each field that has no effect
    look_again_at: datetime | None = None  # from then on, the result may differ
    plan: Plan | None = None  # by which the pods are made
    made: Object | None = None  # `status.made`: what the pods were made of
    update: Object | None = None  # `status.update`: what this version would make differently
    claims: tuple[Claimed, ...] = ()  # of caches; made before all others
    unused_claims: tuple[ObjectKey, ...] = ()  # the same, where no pod needs them any more
    compile_cache: Object | None = None  # `status.compileCache`, its `lastStart` left out
    model_cache: Object | None = None  # `status.modelCache`


@dataclass(frozen=True)
class Unrenderable:
    """Nothing is applied, and existing objects stay as they are; the message is one sentence with the remedy."""

    reason: Reason
    message: str


class UnrenderableError(Exception):
    """Raised while rendering, where the spec can't be carried out; `render` returns it as an Unrenderable."""

    def __init__(self, message: str, reason: Reason = Reason.INVALID_SPEC) -> None:
        super().__init__(message)
        self.answer = Unrenderable(reason, message)


def hash_of(manifest: Mapping[str, Any]) -> str:
    """The same hash for equal objects, whatever the order of their fields."""
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
