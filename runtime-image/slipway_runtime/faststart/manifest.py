"""What a cache was filled for, and what it contained then, so that nothing else is ever mistaken for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

FORMAT = 1
TRANSIENT = (".lock", ".tmp")  # what tools leave next to what they cache


@dataclass(frozen=True)
class Manifest:
    key: Mapping[str, str]
    files: Mapping[str, str]
    """Their digests, by their paths in the cache's folder."""

    @classmethod
    def of(cls, folder: Path, key: Mapping[str, str]) -> Self:
        return cls(key, digests(folder, list(names_in(folder))))

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """Returns None if there is no valid manifest."""
        try:
            told = json.loads(file.read_text())
            return cls(dict(told["key"]), dict(told["files"])) if told["format"] == FORMAT else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def as_json(self) -> str:
        return json.dumps({"format": FORMAT, "key": dict(self.key), "files": dict(self.files)}, indent=1)

    def damage(self, folder: Path) -> str | None:
        """Returns the first file that has changed."""
        found = digests(folder, list(self.files))
        return next((name for name, digest in self.files.items() if found[name] != digest), None)

    def strangers(self, folder: Path) -> list[str]:
        """Returns files that were added later, by a start that may have been killed while it wrote them."""
        return [name for name in names_in(folder) if name not in self.files]


def difference(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Returns in words why a cache for one key can't serve the other."""
    names = sorted(set(ours) | set(theirs))
    return [
        f"{name} is {ours.get(name, 'unknown')}, and was {theirs.get(name, 'unknown')}"
        for name in names
        if ours.get(name) != theirs.get(name)
    ]


def name_of(key: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:16]


def names_in(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(TRANSIENT):
            yield str(path.relative_to(folder))


def digests(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Returns the digests of files, several at a time, because hashing runs without the interpreter's lock."""
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(names, pool.map(lambda name: _digest(folder / name), names), strict=True))


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return "missing"
