"""Which files a scratch folder has, and which of them are new since it was unpacked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TRANSIENT_ENDINGS = (".lock", ".tmp", ".pyc")  # locks, unfinished files, and what Python makes of others anyway
TRANSIENT_STARTS = ("tmp.pid_",)  # Triton's unfinished folders
SETTLED_AFTER = 1.0  # seconds without a change; a file that was just written may be incomplete


class Seen(NamedTuple):
    size: int
    changed: int  # nanoseconds since the epoch


Snapshot = Mapping[str, Seen]
"""By the file's path in the folder."""


def taken(folder: Path) -> dict[str, Seen]:
    """Returns all regular files, in the order of their names. Links and the like are not followed."""
    return dict(sorted((str(Path(entry.path).relative_to(folder)), _seen(entry)) for entry in _files(folder)))


def new_files(before: Snapshot, now: Snapshot) -> list[str]:
    return [name for name, seen in now.items() if before.get(name) != seen]


def settled(now: Snapshot, at: float) -> dict[str, Seen]:
    """Returns those that no one has written to for a while; `at`: the present, in seconds since the epoch."""
    return {name: seen for name, seen in now.items() if abs(at - seen.changed / 1e9) >= SETTLED_AFTER}


def save(snapshot: Snapshot, file: Path) -> None:
    file.write_text(json.dumps(snapshot))


def load(file: Path) -> dict[str, Seen]:
    """Returns an empty snapshot if there is none: then all files are new."""
    with suppress(OSError, ValueError, TypeError):
        return {name: Seen(*seen) for name, seen in json.loads(file.read_text()).items()}
    return {}


def _files(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(TRANSIENT_ENDINGS) or entry.name.startswith(TRANSIENT_STARTS):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry


def _seen(entry: os.DirEntry[str]) -> Seen:
    found = entry.stat(follow_symlinks=False)
    return Seen(found.st_size, found.st_mtime_ns)
