"""Asks the kernel for files before anybody needs them. What is in memory already costs next to nothing."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

WISH = 128 * 1024  # bytes; what the kernel takes of one wish, on most devices
AT_ONCE = 16  # files
READ = "has-been-read"  # a file: all that was asked for is in memory
PATIENCE = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Piece:
    """Of a file."""

    start: int
    size: int
    path: str

    @classmethod
    def read(cls, line: str) -> Self:
        start, size, path = line.split(" ", 2)
        return cls(int(start), int(size), path)

    @classmethod
    def whole(cls, path: str) -> Self:
        try:
            return cls(0, Path(path).stat().st_size, path)
        except OSError:
            return cls(0, 0, path)  # who needs it will say so


def read_ahead(pieces: Sequence[Piece], folder: Path) -> threading.Thread:
    """Begins at once, beside whatever else this process does. The folder is one that others look into for the end."""
    thread = threading.Thread(target=_read, args=(pieces, folder), name="page-cache", daemon=True)
    thread.start()
    return thread


def until_read(folder: Path) -> None:
    """But not for ever, since nothing depends on it but time."""
    until = time.monotonic() + PATIENCE
    while not (folder / READ).exists() and time.monotonic() < until:
        time.sleep(0.01)


def _read(pieces: Sequence[Piece], folder: Path) -> None:
    """First all is asked for, so that the disk never waits; then each is waited for."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="page-cache") as pool:
        list(pool.map(_opened(_ask_for), pieces))
        list(pool.map(_opened(_wait_for), pieces))
    with contextlib.suppress(OSError):
        (folder / READ).touch()


def _opened(use: Callable[[int, Piece], None]) -> Callable[[Piece], None]:
    def use_if_there(piece: Piece) -> None:
        with contextlib.suppress(OSError):
            file = os.open(piece.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                use(file, piece)
            finally:
                os.close(file)

    return use_if_there


def _ask_for(file: int, piece: Piece) -> None:
    for start in range(piece.start, piece.start + piece.size, WISH):
        os.posix_fadvise(file, start, min(WISH, piece.start + piece.size - start), os.POSIX_FADV_WILLNEED)


def _wait_for(file: int, piece: Piece) -> None:
    os.pread(file, 1, piece.start + piece.size - 1)
