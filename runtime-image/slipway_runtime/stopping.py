"""Stop signals of process 1, from its first moment to its last. The code that is at work says what a signal does.

The kernel drops a signal for process 1 that has no handler. So the image's entry point blocks stop signals, which keeps
them pending, and this module handles them before anything else is imported. One handler stays installed from then on:
asyncio's own handlers would leave moments without any when a loop starts and ends.
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
"""Commands for which an end by a stop signal is a success."""

_act: Callable[[int], object] | None = None


def install() -> None:
    """Installs the handler. Until `on_stop` says otherwise, a stop signal ends the process."""
    for number in STOP:
        signal.signal(number, _handle)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)


def on_stop(act: Callable[[int], object]) -> None:
    """Sets what a stop signal does from now on. None is lost in between, since the installed handler stays the same."""
    global _act  # noqa: PLW0603 - a process has its signals once
    _act = act


def ignore() -> None:
    """Ignores stop signals from now on: the process ends anyway, and its exit code must not change any more."""
    for number in STOP:
        signal.signal(number, signal.SIG_IGN)


def _handle(number: int, _: object) -> None:
    if _act is None:
        os._exit(0 if sys.argv[1:2] and sys.argv[1] in SERVING else 128 + number)
    _act(number)
