"""What benchmarks do with the machine that they run on."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from slipway_runtime.supervisor.processes import processes

TERMINATED = 128 + signal.SIGTERM


def tidy_up_when_told_to_end() -> None:
    """SIGTERM alone would leave engines and clusters behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))


def empty_page_cache() -> None:
    """As root."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def family(pid: int) -> set[int]:
    """A process and all that it has started, whatever their sessions."""
    parents = {process.pid: process.parent for process in processes() if not process.is_zombie}
    found, more = set[int](), {pid}
    while more:
        found |= more
        more = {child for child, parent in parents.items() if parent in more}
    return found
