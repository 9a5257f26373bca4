"""Processes that a test starts, and how they end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from slipway_devcluster.identity import children

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
    """Polls until the condition holds; fails at once if the process has ended."""
    deadline = time.monotonic() + within
    while not condition():
        assert process.poll() is None, f"{what} has ended with exit code {process.returncode}"
        assert time.monotonic() < deadline, f"{what} was not ready within {within:.0f} s"
        time.sleep(0.1)


_SCRATCH = re.compile(rb"/dev/shm/slipway-\w+")


def kill_all(pid: int) -> None:
    """Kills a process and all that it has started."""
    pids = tree(pid)
    with without_traces(pids):
        for each in pids:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)


@contextmanager
def without_traces(pids: list[int]) -> Iterator[None]:
    """Removes the scratch folders that these processes have at the start of the block."""
    folders = {folder for pid in pids for folder in _scratch_folders(pid)}
    yield
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _scratch_folders(pid: int) -> set[str]:
    """Finds the scratch folders of a process: its creator has mapped a file of it, others have it in their
    environment."""
    found = set[str]()
    for place in ("maps", "environ"):
        with suppress(OSError):
            found |= {name.decode() for name in _SCRATCH.findall(Path(f"/proc/{pid}/{place}").read_bytes())}
    return found


def tree(pid: int) -> list[int]:
    with suppress(FileNotFoundError, ProcessLookupError):
        return [pid, *(each for child in children(pid) for each in tree(child))]
    return []
