"""Identifies an LLMDeployment: what queues hold and caches are looked up by."""

from __future__ import annotations

from typing import NamedTuple


class ModelKey(NamedTuple):
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
