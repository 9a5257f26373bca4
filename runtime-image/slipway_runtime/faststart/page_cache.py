"""Asks the kernel for files before anybody needs them. What is in memory already costs next to nothing."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PIECE = 128 * 1024  # what the kernel takes of one wish, on most devices
AT_ONCE = 8  # files
ASKED = "asked-for"  # a file: all that was to be asked for has been
PATIENCE = 5.0  # seconds


def read_ahead(files: Sequence[str], folder: Path) -> threading.Thread:
    """Begins at once, beside whatever else this process does. The folder is one that others look into for the end."""
    thread = threading.Thread(target=_ask_for, args=(files, folder), name="page-cache", daemon=True)
    thread.start()
    return thread


def until_asked(folder: Path) -> None:
    """Until all is on its way; but not for ever, since nothing depends on it but time."""
    until = time.monotonic() + PATIENCE
    while not (folder / ASKED).exists() and time.monotonic() < until:
        time.sleep(0.01)


def _ask_for(files: Iterable[str], folder: Path) -> None:
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="page-cache") as pool:
        list(pool.map(_ask_for_file, files))
    with contextlib.suppress(OSError):
        (folder / ASKED).touch()


def _ask_for_file(path: str) -> None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return  # who needs it will say so
    try:
        size = os.fstat(file).st_size
        for start in range(0, size, PIECE):
            os.posix_fadvise(file, start, PIECE, os.POSIX_FADV_WILLNEED)
    except OSError:
        return
    finally:
        os.close(file)
