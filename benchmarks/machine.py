"""What several benchmarks do with processes and with the machine."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TypeVar

from slipway_runtime.supervisor.processes import processes

T = TypeVar("T")
TERMINATED = 128 + signal.SIGTERM


def piped(stream: T | None) -> T:
    """A stream of a process that was started with a pipe for it, which its type does not say."""
    if stream is None:
        raise RuntimeError("the process was started without this pipe")
    return stream


def tidy_up_when_told_to_end() -> None:
    """Exit in an orderly way on SIGTERM, which would otherwise leave engines and clusters behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))


def empty_page_cache() -> None:
    """Drop the kernel's page cache; needs root."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def family(pid: int) -> set[int]:
    """The pids of a process and of all its descendants, in whichever sessions they are."""
    parents = {process.pid: process.parent for process in processes() if not process.is_zombie}
    found, more = set[int](), {pid}
    while more:
        found |= more
        more = {child for child, parent in parents.items() if parent in more}
    return found
