"""How long something takes, whatever else the machine is doing."""

from __future__ import annotations

import time
from collections.abc import Callable


def least_time(work: Callable[[], object], tries: int = 5) -> float:
    """Seconds of this process."""
    return min(_time(work) for _ in range(tries))


def _time(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun
