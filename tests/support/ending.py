"""Ends processes that a test has started at once, and removes what they had no chance to remove themselves."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.host import tree

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
