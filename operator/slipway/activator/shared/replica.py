"""A replica of a model. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

ReplicaAddress = tuple[str, int]


class Replica(NamedTuple):
    """A replica that is ready, and how many requests it takes at a time."""

    host: str
    port: int
    max_concurrency: int
    created: datetime | None = None  # its pod, for the traces of requests that waited for it
    scheduled: datetime | None = None

    @property
    def address(self) -> ReplicaAddress:
        return self.host, self.port
