"""What a killed engine leaves in /dev/shm. A pod's /dev/shm outlives its containers, and counts as memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from slipway_runtime.supervisor.processes import PROC

FOLDER = Path("/dev/shm")  # noqa: S108 - the one that engines use


def names(folder: Path = FOLDER) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208 - only names are needed
    except OSError:
        return frozenset()


def clear(before: frozenset[str], folder: Path = FOLDER) -> list[str]:
    """Removes our user's files that are new and that no process uses; returns their names."""
    ours = [folder / name for name in sorted(names(folder) - before)]
    used = in_use(folder) if ours else set()
    removed = []
    for file in [file for file in ours if _is_our_file(file) and file not in used]:
        with contextlib.suppress(OSError):
            file.unlink()
            removed.append(file.name)
    return removed


def in_use(folder: Path) -> set[Path]:
    return {path for path in _open_or_mapped() if folder in path.parents}


def _is_our_file(file: Path) -> bool:
    try:
        return file.is_file() and not file.is_symlink() and file.stat().st_uid == os.getuid()
    except OSError:
        return False


def _open_or_mapped() -> Iterator[Path]:
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            yield from _targets(entry / "fd")
            yield from _mapped(entry / "maps")


def _targets(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for link in folder.iterdir():
            with contextlib.suppress(OSError):
                yield link.readlink()


def _mapped(maps: Path) -> Iterator[Path]:
    """Yields the files that a process has mapped."""
    with contextlib.suppress(OSError):
        for line in maps.read_text().splitlines():
            name = line.split(maxsplit=5)[5:]
            if name and name[0].startswith("/"):
                yield Path(name[0])
