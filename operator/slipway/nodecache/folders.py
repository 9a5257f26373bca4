"""Counts and removes what tenants have written. Nothing here follows a link, or trusts a name, a depth or a number.

Folders are opened one below the other, without following links, and everything else is done relative to an open
folder: a tenant that exchanges a folder for a link meanwhile gets an error, and the plugin goes nowhere else.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from itertools import count, islice

from slipway.nodecache.layout import RECORD, lock_of, names_of

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_FILES, DEEPEST = 100_000, 32
"""Of one model: more files, or deeper folders, aren't counted. Models have far fewer."""
ROUNDS = 3  # of removing a folder into which a process still writes
NOT_A_FOLDER = (errno.ENOTDIR, errno.ELOOP)
_numbers = count()


@contextlib.contextmanager
def opened(name: str, parent: int | None = None) -> Iterator[int]:
    descriptor = os.open(name, FOLDER, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def has_record(folder: int, key: str) -> bool:
    """Whether a complete model is there; what a tenant forges concerns its own pods alone."""
    *folders, file = (key, *RECORD)
    with contextlib.ExitStack() as stack:
        try:
            for name in folders:
                folder = stack.enter_context(opened(name, folder))
            os.stat(file, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return False
    return True


class Counting:
    """The bytes of one model, which may be in several folders. A file with several names counts once."""

    def __init__(self) -> None:
        self.bytes, self.is_complete = 0, True
        self._left, self._seen = MOST_FILES, set[tuple[int, int]]()

    def add(self, parent: int, name: str, depth: int = 0) -> None:
        if not self._left:
            self.is_complete = False
            return
        self._left -= 1
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
                if (which := (found.st_dev, found.st_ino)) in self._seen:
                    return
                self._seen.add(which)
            self.bytes += found.st_blocks * 512
            if stat.S_ISDIR(found.st_mode):
                self._add_all_in(parent, name, depth)
        except OSError:  # removed or exchanged meanwhile
            return

    def _add_all_in(self, parent: int, name: str, depth: int) -> None:
        if depth == DEEPEST:
            self.is_complete = False
            return
        with opened(name, parent) as folder, os.scandir(folder) as entries:
            for entry in entries:
                self.add(folder, entry.name, depth + 1)
                if not self._left:
                    self.is_complete = False
                    return


def counted(folder: int, names: Sequence[str]) -> Counting:
    counting = Counting()
    for name in names:
        counting.add(folder, name)
    return counting


@contextlib.contextmanager
def lock_if_free(folder: int, key: str) -> Iterator[bool]:
    """Takes the fetcher's own lock of that model, if no fetcher has it; yields whether it did.

    If a tenant has put something else in its place, no fetcher can have it.
    """
    try:
        descriptor = os.open(lock_of(key), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=folder)
    except OSError:
        yield True
        return
    try:
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, 0o666)  # a fetcher, which is another user, must be able to open it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def discard_model(folder: int, key: str, trash: int) -> bool:
    """Moves a model out of the pods' sight, at once. False: a fetcher works on it."""
    with lock_if_free(folder, key) as is_free:
        if is_free:
            discard(folder, names_of(key), trash)
        return is_free


def names_in(folder: int) -> list[str]:
    """Not all of them, if there are very many."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, MOST_FILES)]


def discard(folder: int, names: Sequence[str], trash: int) -> None:
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.rename(name, _unused_name(), src_dir_fd=folder, dst_dir_fd=trash)


def empty(trash: int) -> None:
    """Removes everything in it. Folders in folders are moved up first, so that no depth is too deep."""
    for _ in range(ROUNDS):
        while names := names_in(trash):
            if not [name for name in names if _removed(trash, name)]:
                break
        else:
            return


def _removed(trash: int, name: str) -> bool:
    """False: a process that has the folder open still writes into it."""
    try:
        with opened(name, trash) as folder, os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    os.rename(entry.name, _unused_name(), src_dir_fd=folder, dst_dir_fd=trash)
                else:
                    os.unlink(entry.name, dir_fd=folder)
    except OSError as error:
        if error.errno not in NOT_A_FOLDER:
            return False
        os.unlink(name, dir_fd=trash)
        return True
    try:
        os.rmdir(name, dir_fd=trash)
    except OSError:
        return False
    return True


def _unused_name() -> str:
    """Also after a restart of the process."""
    return f"{os.getpid()}-{next(_numbers)}-{os.urandom(4).hex()}"
