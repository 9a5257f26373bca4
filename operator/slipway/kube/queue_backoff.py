"""How long the work queue holds a key back after failures. Pure: the one place to change the queue's backoff."""

from __future__ import annotations

from dataclasses import dataclass

MOST_DOUBLINGS = 40  # more would only overflow


@dataclass(frozen=True)
class QueueBackoff:
    """In seconds: after the first failure, and at most. Each failure in a row doubles it."""

    first: float = 0.2
    longest: float = 60.0

    def after(self, failures: int, jitter: float) -> float:
        """`jitter` (0 to 1) keeps keys that failed together from being retried together."""
        return min(self.first * 2.0 ** min(failures - 1, MOST_DOUBLINGS), self.longest) * (0.5 + jitter / 2)
