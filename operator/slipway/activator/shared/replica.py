"""A replica of a model that is ready. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Replica(NamedTuple):
    """A ready replica and how many requests it takes at a time."""

    host: str
    port: int
    max_concurrency: int

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port
