"""A replica of a model. Pure."""

from __future__ import annotations

from typing import NamedTuple

ReplicaAddress = tuple[str, int]


class Replica(NamedTuple):
    """A replica that is ready, and how many requests it takes at a time."""

    host: str
    port: int
    max_concurrency: int

    @property
    def address(self) -> ReplicaAddress:
        return self.host, self.port
