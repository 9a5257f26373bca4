"""Identifies an LLMDeployment: what queues hold and caches are looked up by."""

from __future__ import annotations

from typing import NamedTuple

from slipway.objects.kinds import Object


class ModelKey(NamedTuple):
    namespace: str
    name: str

    @classmethod
    def of(cls, deployment: Object) -> ModelKey:
        return cls(deployment["metadata"]["namespace"], deployment["metadata"]["name"])

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
