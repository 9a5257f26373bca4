"""Which calls to the API server are retried, and when. Pure.

429, 5xx and broken connections mean "not now". Any other response is final: a retry would change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NOT_NOW = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Patience:
    """How long a call may take with all of its tries, how long one try, and the pauses between them, in seconds."""

    deadline: float = 7.0  # for so long, an operator that ends waits for the reconciles in flight
    per_try: float = 5.0
    first_pause: float = 0.1
    longest_pause: float = 2.0

    def pause(self, tries: int, jitter: float, *, asked_for: float = 0.0) -> float:
        """Before the next try; `jitter` (0 to 1) keeps calls that failed together from being retried together."""
        doubled = self.first_pause * 2.0 ** min(tries - 1, 30)
        return max(min(doubled, self.longest_pause) * (0.5 + jitter / 2), asked_for)


def is_retried(code: int) -> bool:
    return code in NOT_NOW


def retry_after(headers: Mapping[str, str]) -> float:
    """The seconds that the API server wants us to wait; it never sends a date."""
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return 0.0
