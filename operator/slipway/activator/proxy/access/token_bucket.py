"""How often something may happen: a bucket that fills at a steady rate. Pure."""

from __future__ import annotations

import math


class TokenBucket:
    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second, self._burst = per_second, burst
        self._left, self._at = float(burst), -math.inf

    def take(self, now: float) -> bool:
        """Returns whether it may happen now."""
        if self.wait(now) > 0:
            return False
        self._left -= 1
        return True

    def wait(self, now: float) -> float:
        """Seconds until it may happen."""
        self._left = min(float(self._burst), self._left + max(0.0, now - self._at) * self._per_second)
        self._at = now
        return max(0.0, (1 - self._left) / self._per_second)
