"""Signals that tell process 1 to stop, from its first moments to its last: whoever is at work says what they lead to.

For process 1 the kernel drops a signal that nobody handles. So the image's entry point blocks them, by which they wait,
and here they are handled before anything else is imported. One handler stays from then on, for what asyncio does at its
beginning and its end would leave moments without any.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # as in typing, which takes a while to import
if TYPE_CHECKING:
    from collections.abc import Callable

STOP = (signal.SIGTERM, signal.SIGINT)
SERVING = ("serve", "warm")
"""Commands that do what they should when they end because they were told to."""

_act: Callable[[int], object] | None = None


def obey() -> None:
    """From here on a signal counts: until anybody says otherwise, it ends the process."""
    for number in STOP:
        signal.signal(number, _told)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)


def lead_to(act: Callable[[int], object]) -> None:
    """What a signal does from now on; between two of these none is lost, for it is one and the same handler."""
    global _act  # noqa: PLW0603 - a process has its signals once
    _act = act


def ignore() -> None:
    """All is over but the end: another signal must not change how it looks."""
    for number in STOP:
        signal.signal(number, signal.SIG_IGN)


def _told(number: int, _: object) -> None:
    if _act is None:
        os._exit(0 if sys.argv[1:2] and sys.argv[1] in SERVING else 128 + number)
    _act(number)
