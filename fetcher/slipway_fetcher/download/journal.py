"""What of a download is on the disk, as lines that are only appended: a killed program goes on where it was.

A line is written after the bytes that it is about are on the disk. A last line that was cut off is ignored. What was
noted for another tag, that is for other content, doesn't count.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway_fetcher.folder.space import unwritable
from slipway_fetcher.sources.base import RemoteFile

Range = tuple[int, int]


@dataclass
class Known:
    """Of one file."""

    tag: str = ""
    ranges: list[Range] = field(default_factory=list)  # received, not verified
    digest: str | None = None
    verified: bool = False

    def add(self, start: int, end: int) -> None:
        merged: list[Range] = []
        for first, last in sorted([*self.ranges, (start, end)]):
            if merged and first <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        self.ranges = merged

    @property
    def size(self) -> int:
        return sum(end - start for start, end in self.ranges)


class Journal:
    """Of one download. Safe for threads."""

    def __init__(self, file: Path) -> None:
        self._lock, self._path = threading.Lock(), file
        self._known: dict[str, Known] = {}
        content = file.read_bytes() if file.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        for line in whole.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._apply(json.loads(line))
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        os.ftruncate(self._file, len(whole))

    def close(self) -> None:
        os.close(self._file)

    def known(self, file: RemoteFile) -> Known:
        found = self._known.get(file.path)
        return found if found and found.tag == file.tag else Known(file.tag)

    def received(self, file: RemoteFile, start: int, end: int) -> None:
        if end > start:
            self._note({"path": file.path, "tag": file.tag, "from": start, "to": end})

    def verified(self, file: RemoteFile, digest: str | None) -> None:
        self._note({"path": file.path, "tag": file.tag, "verified": True, "digest": digest})

    def dropped(self, file: RemoteFile) -> None:
        self._note({"path": file.path, "tag": file.tag, "dropped": True})

    def _note(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._apply(line)
            try:
                os.write(self._file, json.dumps(line).encode() + b"\n")
            except OSError as error:
                raise unwritable(self._path, error) from error

    def _apply(self, line: dict[str, Any]) -> None:
        known = self._known.get(line["path"])
        if known is None or known.tag != line["tag"] or line.get("dropped"):
            known = self._known[line["path"]] = Known(line["tag"])
        if line.get("verified"):
            known.verified, known.digest = True, line.get("digest")
        elif "to" in line:
            known.add(int(line["from"]), int(line["to"]))


def missing(known: Known, size: int, largest: int) -> list[Range]:
    """The ranges that a file still lacks, none larger than that."""
    found: list[Range] = []
    position = 0
    for start, end in [*known.ranges, (size, size)]:
        while position < min(start, size):
            found.append((position, min(start, size, position + largest)))
            position = found[-1][1]
        position = max(position, end)
    return found
