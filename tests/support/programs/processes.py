"""Programs beside a test: ended with it, by their own pid, gently if they listen."""

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
    """Asks again and again; a process that has ended won't ever be as it should be."""
    deadline = time.monotonic() + within
    while not condition():
        assert process.poll() is None, f"{what}: it has ended with {process.returncode}"
        assert time.monotonic() < deadline, f"{what}: not within {within:.0f} s"
        time.sleep(0.1)


_SCRATCH = re.compile(rb"/dev/shm/slipway-\w+")


def kill_all(pid: int) -> None:
    """A process and all that it has started."""
    pids = tree(pid)
    with without_traces(pids):
        for each in pids:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)


@contextmanager
def without_traces(pids: list[int]) -> Iterator[None]:
    """The scratch folders that these processes have at the beginning are gone at the end."""
    folders = {folder for pid in pids for folder in _scratch_folders(pid)}
    yield
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _scratch_folders(pid: int) -> set[str]:
    """Who made one has mapped a file of it; who was told of one has it in the environment."""
    found = set[str]()
    for place in ("maps", "environ"):
        with suppress(OSError):
            found |= {name.decode() for name in _SCRATCH.findall(Path(f"/proc/{pid}/{place}").read_bytes())}
    return found


def tree(pid: int) -> list[int]:
    with suppress(FileNotFoundError, ProcessLookupError):
        return [pid, *(each for child in children(pid) for each in tree(child))]
    return []
