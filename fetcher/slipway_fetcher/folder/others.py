"""Other models next to the one that is wanted, which nothing uses any more: they are removed, to make room.

Only what this program has made is touched, and nothing that another process works on. A model disappears at once, by
one rename, before its files are deleted.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from slipway_fetcher.folder.lock import if_free
from slipway_fetcher.folder.target import RECORD, Target


def mark_as_wanted(target: Target) -> None:
    """So that it counts as used from now on."""
    with contextlib.suppress(OSError):
        os.utime(target.lock)


def remove_others(target: Target, keep: Collection[str], unused_for: float) -> list[str]:
    """The names of those that were removed. `keep`: names that stay; `unused_for`: seconds since the last run that
    wanted one."""
    removed = []
    for name in sorted(_names(target.parent) - {target.folder.name, *keep}):
        other = Target(target.parent / name)
        if time.time() - _wanted_at(other) < unused_for:
            continue
        with if_free(other.lock) as is_free, contextlib.suppress(OSError):  # the next run tries again
            if is_free:
                other.remove()
                removed.append(name)
    return removed


def _names(parent: Path) -> set[str]:
    return set(_found(parent))


def _found(parent: Path) -> Iterator[str]:
    """Of models, whole or in part. A link is none."""
    for path in parent.iterdir():
        if path.is_symlink() or not path.is_dir():
            continue
        ending = next((each for each in Target.BESIDES if path.name.startswith(".") and path.name.endswith(each)), "")
        if ending:
            yield path.name.removeprefix(".").removesuffix(ending)
        elif (path / RECORD).is_file():
            yield path.name


def _wanted_at(other: Target) -> float:
    """Zero: nothing says when."""
    try:
        return other.lock.stat().st_mtime
    except OSError:
        return 0.0
