"""Asks the kernel for files before anybody needs them. What is in memory already costs next to nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

PIECE = 128 * 1024  # what the kernel takes of one wish, on most devices
AT_ONCE = 8  # files


def read_ahead(files: Sequence[str]) -> threading.Thread:
    """Begins at once, beside whatever else this process does."""
    thread = threading.Thread(target=_ask_for, args=(files,), name="page-cache", daemon=True)
    thread.start()
    return thread


def _ask_for(files: Iterable[str]) -> None:
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="page-cache") as pool:
        list(pool.map(_ask_for_file, files))


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
