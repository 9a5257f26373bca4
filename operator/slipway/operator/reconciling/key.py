"""What the queue holds: the name of an LLMDeployment."""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
