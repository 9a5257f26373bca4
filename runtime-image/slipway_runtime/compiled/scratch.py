"""The pod's own folder, in which the engine reads and writes compiled code. Nothing in it outlives the pod."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self

NAME = "compiled"


class Scratch:
    """One start's folder. Its path is the same in every pod, since compiled code may contain paths."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder, self._lock = folder, lock

    @classmethod
    def within(cls, place: Path) -> Self:
        """Takes the folder, empty: what an earlier container has left there may be incomplete. Where several pods are
        processes of one machine, the others get folders with a number, by which they find their own entries again.
        Raises OSError."""
        place.mkdir(parents=True, exist_ok=True)
        folder, lock = _first_free(place)
        scratch = cls(folder, lock)
        try:
            scratch._make()
        except OSError:
            os.close(lock)
            raise
        return scratch

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def snapshot(self) -> Path:
        """Where the list of unpacked files is stored."""
        return self.folder / "snapshot.json"

    def partial(self) -> Path:
        """Returns an empty folder for what isn't verified yet."""
        return Path(tempfile.mkdtemp(prefix="partial-", dir=self.folder))

    def clear(self) -> None:
        self._remove()
        self._make()

    def close(self) -> None:
        """Removes everything, and lets another start take the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    def _make(self) -> None:
        self._remove()
        self.files.mkdir(parents=True, mode=0o700)

    def _remove(self) -> None:
        if self.folder.is_symlink():
            self.folder.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)


def _first_free(place: Path) -> tuple[Path, int]:
    """Returns the folder, and the lock that no other process holds."""
    number, name = 1, NAME
    while True:
        with suppress(BlockingIOError):
            return place / name, _locked(place / f"{name}.lock")
        number += 1
        name = f"{NAME}-{number}"


def _locked(file: Path) -> int:
    """Returns the descriptor that holds the lock until it is closed. Raises OSError."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock
