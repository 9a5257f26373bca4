"""Programs beside a test: ended with it, by their own pid, gently if they listen."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

ENDS_WITHIN = 10.0


@contextmanager
def ended(process: subprocess.Popen[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(condition: Callable[[], bool], process: subprocess.Popen[Any], what: str, *, within: float) -> None:
    """Asks again and again; a process that has ended won't ever be as it should be."""
    deadline = time.monotonic() + within
    while not condition():
        assert process.poll() is None, f"{what}: it has ended with {process.returncode}"
        assert time.monotonic() < deadline, f"{what}: not within {within:.0f} s"
        time.sleep(0.1)
