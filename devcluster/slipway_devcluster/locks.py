"""Locks between processes and threads: two simultaneous runs don't do the same work, nor damage each other's files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

PATIENCE = 1.0  # seconds of waiting that are not reported


def say_on_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")


@contextlib.contextmanager
def locked(path: Path, *, say: Callable[[str], None] = say_on_stderr, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock at `path`; the kernel releases it when the process ends, however it ends.

    The file stays behind on purpose: removing it would let two processes hold "the" lock on two different files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        _wait_for(file.fileno(), path, say, patience)
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        yield
        # Closing the file releases the lock. The pid stays in it, but is only read while the lock is held.


def _wait_for(descriptor: int, path: Path, say: Callable[[str], None], patience: float) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        complaint = threading.Timer(patience, lambda: say(waiting_for(path)))
        complaint.daemon = True
        complaint.start()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        finally:
            complaint.cancel()


def waiting_for(path: Path) -> str:
    """The message for a person who waits for the lock at `path`."""
    return f"waiting for {_holder(path)}, which holds {path}"


def _holder(path: Path) -> str:
    try:
        pid = int(path.read_bytes())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (OSError, ValueError):
        return "another process"
    return f"process {pid} ({command[:80]})"
