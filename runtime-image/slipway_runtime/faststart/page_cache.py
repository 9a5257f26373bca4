"""Asks the kernel to read files before they are needed, which costs almost nothing for files that are in memory."""

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

WISH = 128 * 1024  # bytes that most devices accept in one request
AT_ONCE = 16  # files
READ = "has-been-read"  # the name of a file that says: everything is in memory
PATIENCE = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file."""

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
            return cls(0, 0, path)  # the process that needs it will report that


def read_ahead(pieces: Sequence[Piece], folder: Path) -> threading.Thread:
    """Starts immediately, in a thread. The folder is where `until_read` looks for the end."""
    thread = threading.Thread(target=_read, args=(pieces, folder), name="page-cache", daemon=True)
    thread.start()
    return thread


def until_read(folder: Path) -> None:
    """Waits for the end, but not forever: only time depends on it."""
    until = time.monotonic() + PATIENCE
    while not (folder / READ).exists() and time.monotonic() < until:
        time.sleep(0.01)


def _read(pieces: Sequence[Piece], folder: Path) -> None:
    """First requests all pieces, so that the disk is never idle, then waits for each."""
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
