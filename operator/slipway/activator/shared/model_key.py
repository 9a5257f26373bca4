"""The name by which all of the activator means one model."""

from __future__ import annotations

from typing import NamedTuple


class ModelKey(NamedTuple):
    """The name by which the activator, KEDA's ScaledObject and the LLMDeployment mean the same thing."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
