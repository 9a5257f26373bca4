"""The Retry-After of a request that is refused: after how many seconds its client should send it again. Pure."""

from __future__ import annotations

import math

SHORTLY = 1  # seconds, where the obstacle passes without a wake
LATER = 10  # seconds, where a person has to act first
SPREAD = 60  # seconds over which requests return that are all refused until the same moment
UNKNOWN_WAKE = 60.0  # seconds for a wake, if nothing is known of how long it takes


def retry_after(*, expected_wake: float | None, waking_for: float, is_ready: bool) -> int:
    """Of a request that was held, or found no place: when the wake should be over, or a replica free.

    `expected_wake`: seconds that a wake takes; `waking_for`: those that have passed of it.
    """
    return SHORTLY if is_ready else after_wake(expected_wake or UNKNOWN_WAKE, waking_for)


def after_reset(seconds: float, number: int) -> int:
    """Of a request that is refused until its model's budget is reset. `number`: of such requests, which are spread over
    a minute, or over a tenth of the time if that is less."""
    spread = max(1, min(SPREAD, int(seconds / 10)))
    return max(1, math.ceil(seconds)) + number % spread


def after_wake(expected: float, elapsed: float) -> int:
    """Whole seconds until the wake should be over; a tenth of it more, if it takes longer than expected."""
    return max(1, math.ceil(max(expected - elapsed, expected / 10)))
