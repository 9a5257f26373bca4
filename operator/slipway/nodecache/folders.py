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
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

from slipway.nodecache.layout import OTHER, RECORD, by_key, is_of_a_lock, lock_of, names_of

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_FILES, DEEPEST = 100_000, 32
"""Of one model: more files, or deeper folders, aren't counted. Models have far fewer."""
MOST_NAMES = 10_000  # directly in the folder of a namespace
MOST_IN_A_LOCK = 4096  # bytes on the disk; what has more isn't one
EMPTIES_FOR = 10.0  # seconds; the next sweep goes on
AT_ONCE = 10_000  # of what is in one folder, so that one that never ends doesn't keep others from being removed
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
    """The bytes of one model, which may be in several folders. A file with several names counts once.

    `seen`: the files with several names that are already counted. Those of a namespace share it, so that a file with
    a name in each of many models counts in one of them.
    """

    def __init__(self, seen: set[tuple[int, int]] | None = None) -> None:
        self.bytes, self.is_complete = 0, True
        self._left, self._seen = MOST_FILES, set[tuple[int, int]]() if seen is None else seen

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


def counted(folder: int, names: Sequence[str], seen: set[tuple[int, int]] | None = None) -> Counting:
    counting = Counting(seen)
    for name in names:
        counting.add(folder, name)
    return counting


def counted_by_key(folder: int) -> dict[str, Counting]:
    """Of a namespace's folder. If it has more names than are listed, nothing in it is complete."""
    found, seen = listed(folder), set[tuple[int, int]]()
    counts = {key: counted(folder, names, seen) for key, names in found.by_key.items()}
    if not found.is_complete:
        for counting in (*counts.values(), counts.setdefault(OTHER, Counting())):
            counting.is_complete = False
    return counts


@contextlib.contextmanager
def lock_if_free(folder: int, key: str) -> Iterator[bool]:
    """Takes the fetcher's own lock of that model, if no fetcher has it; yields whether it did.

    If a tenant has put something else in its place, no fetcher can have it.
    """
    try:
        descriptor = _opened_lock(folder, lock_of(key))
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


def _opened_lock(folder: int, name: str) -> int:
    """OSError if it isn't a file. It is looked at before it is opened: to open a device already does something."""
    try:
        found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise FileExistsError(errno.EEXIST, "not a file", name)
        # the very file that was looked at; a tenant's lease of it would make the plugin wait
        return os.open(f"/proc/self/fd/{found}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(found)


def discard_model(folder: int, key: str, trash: int) -> bool:
    """Moves a model out of the pods' sight, at once. False: a fetcher works on it."""
    with lock_if_free(folder, key) as is_free:
        if is_free:
            discard(folder, names_of(key), trash)
        return is_free


@dataclass(frozen=True)
class Listing:
    """What is directly in the folder of a namespace."""

    by_key: dict[str, list[str]]
    locks: list[str]
    is_complete: bool


def listed(folder: int) -> Listing:
    names = names_in(folder, MOST_NAMES + 1)
    locks = [name for name in names if is_of_a_lock(name) and _may_be_a_lock(folder, name)]
    others = set(names).difference(locks)
    return Listing(by_key(name for name in names if name in others), locks, len(names) <= MOST_NAMES)


def _may_be_a_lock(folder: int, name: str) -> bool:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return True  # removed meanwhile
    return stat.S_ISREG(found.st_mode) and found.st_blocks * 512 <= MOST_IN_A_LOCK


def names_in(folder: int, at_most: int = MOST_FILES) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, at_most)]


def discard(folder: int, names: Sequence[str], trash: int) -> None:
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.rename(name, _unused_name(), src_dir_fd=folder, dst_dir_fd=trash)


def empty(trash: int) -> None:
    """Removes what is in it, for a while: a process that has a folder of it open may go on writing there for ever.

    Folders in folders are moved up first, so that no depth is too deep.
    """
    until = time.monotonic() + EMPTIES_FOR
    is_any_removed = True
    while is_any_removed:
        is_any_removed = False
        for name in names_in(trash):
            if time.monotonic() >= until:
                return
            is_any_removed |= _removed(trash, name)


def _removed(trash: int, name: str) -> bool:
    """Whether it, or anything in it, was removed."""
    is_any_removed = False
    try:
        with opened(name, trash) as folder, os.scandir(folder) as entries:
            for entry in islice(entries, AT_ONCE):
                if entry.is_dir(follow_symlinks=False):
                    os.rename(entry.name, _unused_name(), src_dir_fd=folder, dst_dir_fd=trash)
                else:
                    os.unlink(entry.name, dir_fd=folder)
                is_any_removed = True
        os.rmdir(name, dir_fd=trash)
    except OSError as error:
        if error.errno not in NOT_A_FOLDER or is_any_removed:
            return is_any_removed
        os.unlink(name, dir_fd=trash)
    return True


def _unused_name() -> str:
    """Also after a restart of the process."""
    return f"{os.getpid()}-{next(_numbers)}-{os.urandom(4).hex()}"
