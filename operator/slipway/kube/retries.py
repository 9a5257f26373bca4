"""Which answers are worth another try, and when. Pure.

429, 5xx and broken connections say "not now". All else is an answer: asking again would change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NOT_NOW = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Patience:
    """How long a call may take with all of its tries, one of them, and the pauses between them, in seconds."""

    deadline: float = 7.0  # for so long, an operator that is to end waits for what it has begun
    per_try: float = 5.0
    first_pause: float = 0.1
    longest_pause: float = 2.0

    def pause(self, tries: int, jitter: float, *, asked_for: float = 0.0) -> float:
        """Before the next try; `jitter` (0 to 1) keeps those that failed together from coming back together."""
        doubled = self.first_pause * 2.0 ** min(tries - 1, 30)
        return max(min(doubled, self.longest_pause) * (0.5 + jitter / 2), asked_for)


def is_worth_another_try(code: int) -> bool:
    return code in NOT_NOW


def retry_after(headers: Mapping[str, str]) -> float:
    """The seconds that the API server asks us to wait; it never sends a date."""
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return 0.0
