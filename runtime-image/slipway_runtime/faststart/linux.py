"""Calls of Linux that Python's standard library lacks."""

from __future__ import annotations

import ctypes
import signal

PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36


def die_with_parent() -> None:
    """Lets the kernel kill this process when its parent ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans(adopt: bool) -> None:
    """Makes this process the parent of its descendants whose own parent has ended, or stops that."""
    _prctl(PR_SET_CHILD_SUBREAPER, int(adopt))


def name_thread(name: str) -> None:
    """Names the calling thread in lists of processes; of the main thread, that is the name of the process."""
    _prctl(PR_SET_NAME, ctypes.c_char_p(name.encode()))


def _prctl(option: int, value: object) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
