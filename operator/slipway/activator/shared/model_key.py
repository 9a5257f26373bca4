"""The name of a model within the activator. Pure."""

from __future__ import annotations

from typing import NamedTuple


class ModelKey(NamedTuple):
    """Namespace and name that the LLMDeployment, KEDA's ScaledObject and the activator have in common."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
