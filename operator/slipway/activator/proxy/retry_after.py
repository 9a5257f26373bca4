"""After how many seconds a refused client is to try again. Pure."""

from __future__ import annotations

import math


def retry_after(expected: float, elapsed: float) -> int:
    """Whole seconds after which to ask again: when the wake should be over. Late already: a tenth of it more."""
    return max(1, math.ceil(max(expected - elapsed, expected / 10)))
