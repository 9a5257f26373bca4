"""One download at a time: a lock on a file next to the folder, which ends with the process that has it.

flock(2) is held by an open file, so the kernel releases it however the process ends. Over NFS, Linux requests it from
the server, so that it also holds between nodes; NFS 4 releases it when the lease of a lost node ends. Where the file
system has no locks, the run is refused.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slipway_fetcher.problem import FetchError, Reason

POLLS_EVERY = 0.5  # seconds
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


@contextlib.contextmanager
def locked(file: Path, waits: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """`waits` is called again and again with what the holder has noted about itself."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise FetchError(
            Reason.FAILED,
            f"The lock {file} can't be opened: {error.strerror}.",
            "Mount a volume there that the user of this container may write to.",
        ) from error
    try:
        while not _taken(descriptor, file):
            waits(_note_in(descriptor))
            time.sleep(POLLS_EVERY)
        note = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": round(time.time())})
        os.ftruncate(descriptor, 0)
        with contextlib.suppress(OSError):  # such as a full disk: the note is for people
            os.pwrite(descriptor, note.encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def if_free(file: Path) -> Iterator[bool]:
    """Takes the lock if no other process has it; yields whether it did. For what isn't worth waiting or failing."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        yield False
        return
    with contextlib.closing(os.fdopen(descriptor, "r+b", buffering=0)):
        try:
            taken = _taken(descriptor, file)
        except (FetchError, OSError):
            taken = False
        yield taken


def _taken(descriptor: int, file: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in WITHOUT_LOCKS:
            raise FetchError(
                Reason.FAILED,
                f"The file system of {file} has no locks, so two downloads could disturb each other.",
                "Use a volume whose file system has flock(2), such as a local disk or NFS 4.",
            ) from error
        raise
    return True


def _note_in(descriptor: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
