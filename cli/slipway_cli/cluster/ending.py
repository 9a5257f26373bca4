"""Signals that end this program end it in order, so that no kubectl is left."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """A closed terminal, or a supervisor. What is to be ignored, as under nohup, stays so."""
    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    found = [each for name in names if (each := getattr(signal, name, None))]
    before = {each: signal.getsignal(each) for each in found if signal.getsignal(each) is not signal.SIG_IGN}
    for each in before:
        signal.signal(each, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
