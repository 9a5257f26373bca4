"""How the programs of this image end at a signal: at once."""

from __future__ import annotations

import os
import signal
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT)


def end_at_once() -> None:
    """Nothing needs to be tidied up, because the next run goes on from any state."""
    for number in ENDING:
        signal.signal(number, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)  # the image starts us with them blocked


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)
