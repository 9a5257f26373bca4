"""What benchmarks do with the machine that they run on."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

TERMINATED = 128 + signal.SIGTERM


def tidy_up_when_told_to_end() -> None:
    """SIGTERM alone would leave engines and clusters behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))


def empty_page_cache() -> None:
    """As root."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
