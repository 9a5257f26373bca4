"""Which entries of a store have to go: those that no start has used for long, and the oldest if there are too many.

Only writers remove anything. An entry that a start reads at this moment stays readable to it on local file systems; on
a network file system its reading may fail, which costs that start the cache once.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from slipway_runtime.compiled.manifest import NAME
from slipway_runtime.compiled.store import entries, opened_folder

UNUSED_FOR = 30 * 86400.0  # seconds
UNFINISHED = "unfinished-"  # the start of a temporary file's name
ABANDONED_AFTER = 3600.0  # seconds without a write: no one writes that slowly
REPLACED_FOR = 3600.0  # seconds in which a start that has read the old manifest may still read its content


class Held(NamedTuple):
    """What one entry takes of the store."""

    name: str
    used: float  # seconds since the epoch
    bytes: int


def tidy(root: Path, *, keep: str, limit: int) -> None:
    """Removes what is left of dead writers and unused entries, and then the longest unused ones, down to the limit."""
    now = time.time()
    for name in entries(root):
        _remove_leftovers(root / name, now)
    held = held_in(root)
    for each in held:
        if each.name != keep and now - each.used > UNUSED_FOR:
            remove(root / each.name)
    make_room(root, keep=keep, limit=limit)


def make_room(root: Path, *, keep: str, limit: int) -> None:
    """Removes other entries, the longest unused first, until the rest is within the limit."""
    others = sorted((each for each in held_in(root) if each.name != keep), key=lambda each: each.used)
    total = sum(each.bytes for each in others)
    while total > limit and others:
        oldest = others.pop(0)
        remove(root / oldest.name)
        total -= oldest.bytes


def remove_oldest(root: Path, *, keep: str) -> bool:
    """Returns False if there is no other entry that can be removed."""
    for each in sorted(held_in(root), key=lambda each: each.used):
        if each.name != keep and remove(root / each.name):
            return True
    return False


def held_in(root: Path) -> list[Held]:
    return [_held(root, name) for name in entries(root)]


def remove(folder: Path) -> bool:
    """Removes the manifest first: an entry without one doesn't exist. Whatever has another form is removed as well.
    Returns whether it is gone."""
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            folder.unlink()
            return True
        with opened_folder(folder) as opened:
            for name in sorted(names_in(opened), key=lambda name: name != NAME):
                remove_any(name, opened)
        folder.rmdir()
    except OSError:
        return False
    return True


def remove_any(name: str, within: int) -> None:
    """Removes a file, a link, or a folder with all that is in it, which no entry has. No link is followed."""
    with suppress(OSError):
        try:
            os.unlink(name, dir_fd=within)
        except IsADirectoryError:
            shutil.rmtree(name, ignore_errors=True, dir_fd=within)


def remove_replaced(folder: int, *, keep: str, now: float, at_once: bool = False) -> None:
    """Removes contents that the manifest no longer names, and what dead writers left. `at_once`: contents may still be
    read, but their space is needed."""
    for name in names_in(folder):
        if name in (keep, NAME):
            continue
        is_content = name.startswith("content-")
        age = REPLACED_FOR if is_content else ABANDONED_AFTER
        with suppress(OSError):
            if (at_once and is_content) or now - os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime > age:
                remove_any(name, folder)


def names_in(folder: int) -> list[str]:
    return os.listdir(folder)


def _remove_leftovers(entry: Path, now: float) -> None:
    with suppress(OSError), opened_folder(entry) as folder:
        for name in names_in(folder):
            if name.startswith(UNFINISHED):
                with suppress(OSError):
                    if now - os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime > ABANDONED_AFTER:
                        remove_any(name, folder)


def _held(root: Path, name: str) -> Held:
    used, size = 0.0, 0
    with suppress(OSError), opened_folder(root / name) as folder:
        for file in names_in(folder):
            with suppress(OSError):
                found = os.stat(file, dir_fd=folder, follow_symlinks=False)
                size += found.st_blocks * 512
                used = max(used, found.st_mtime)
    return Held(name, used, size)
