"""The result of looking up what one spec names. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.observing.references import Reference
from slipway.observing.snapshot import UnmetReference

AGAIN_AT_FIRST, AGAIN_AT_LAST = 2.0, 30.0  # seconds
FRESH_FOR = 300.0


@dataclass(frozen=True)
class ReferenceCheck:
    """Which of the references were unmet, at that time."""

    references: frozenset[Reference]
    unmet: tuple[UnmetReference, ...]
    at: float
    tries: int  # in a row, with something unmet

    @property
    def again_after(self) -> float:
        """An unmet reference that may not be needed is checked as seldom as those that are met."""
        if not any(each.is_needed for each in self.unmet):
            return FRESH_FOR
        return min(AGAIN_AT_LAST, AGAIN_AT_FIRST * 2.0 ** min(self.tries - 1, 10))

    def is_fresh(self, now: float) -> bool:
        return now - self.at < self.again_after
