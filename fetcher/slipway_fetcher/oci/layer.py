# Generated from runtime-image/slipway_runtime/oci/layer.py by `make generate`; do not edit.
"""One layer of an image: an uncompressed tar archive of files, which is computed while it is read and never stored.

The same names and contents are always the same bytes, and so the same digest: no times, owners or modes of the machine
are in it. Not compressed, because weights don't get smaller, and because two versions of zlib compress differently.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from slipway_fetcher.oci.problem import RegistryError

MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar"
BLOCK, RECORD = 512, 10240
PIECE = 1 << 20  # bytes that are read at a time
FILE_MODE, FOLDER_MODE = 0o444, 0o555


@dataclass(frozen=True)
class File:
    """A file of this machine, and its path in the image."""

    name: str
    path: Path


@dataclass(frozen=True)
class _Content:
    """A part of the archive: a file's content."""

    path: Path
    size: int


class Layer:
    """An archive of these files and of the folders above them. The files must not change while it is used."""

    media_type = MEDIA_TYPE

    def __init__(self, files: Iterable[File]) -> None:
        self._parts = list(_parts(sorted(files, key=lambda each: each.name)))
        self.size = sum(each.size if isinstance(each, _Content) else len(each) for each in self._parts)

    @cached_property
    def digest(self) -> str:
        """Reads everything once."""
        computed = hashlib.sha256()
        for piece in self.read():
            computed.update(piece)
        return f"sha256:{computed.hexdigest()}"

    def read(self, start: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yields `size` bytes from `start` on; by default all that follow."""
        end = self.size if size is None else min(self.size, start + size)
        position = 0
        for part in self._parts:
            length = part.size if isinstance(part, _Content) else len(part)
            first, last = max(start - position, 0), min(end - position, length)
            if first < last:
                yield from _content(part, first, last) if isinstance(part, _Content) else (part[first:last],)
            position += length


def _parts(files: list[File]) -> Iterator[bytes | _Content]:
    written = 0
    for folder in _folders(files):
        header = _header(folder, tarfile.DIRTYPE, FOLDER_MODE, 0)
        written += len(header)
        yield header
    for file in files:
        size = _size(file.path)
        parts = (_header(_checked(file.name), tarfile.REGTYPE, FILE_MODE, size), bytes(-size % BLOCK))
        written += size + sum(map(len, parts))
        yield parts[0]
        yield _Content(file.path, size)
        yield parts[1]
    yield bytes(2 * BLOCK + -(written + 2 * BLOCK) % RECORD)


def _folders(files: list[File]) -> list[str]:
    """Those above the files, each after the one that it is in."""
    return sorted({str(folder) for file in files for folder in PurePosixPath(file.name).parents if str(folder) != "."})


def _checked(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or name == ".":
        raise ValueError(f"{name!r} is not a path within an image")
    return name


def _header(name: str, kind: bytes, mode: int, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size, entry.mtime = kind, mode, size, 0
    return entry.tobuf(tarfile.PAX_FORMAT, encoding="utf-8", errors="strict")


def _size(path: Path) -> int:
    try:
        found = path.stat(follow_symlinks=False)
    except OSError as error:
        raise _unreadable(path, error.strerror or "it can't be read") from error
    if not stat.S_ISREG(found.st_mode):
        raise _unreadable(path, "it is not a file")
    return found.st_size


def _content(part: _Content, first: int, last: int) -> Iterator[bytes]:
    """The size in the header counts: a file that has become longer is cut, and the registry refuses the digest."""
    try:
        # O_NONBLOCK: never wait for the writer of a FIFO.
        with os.fdopen(os.open(part.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            file.seek(first)
            while first < last:
                piece = file.read(min(PIECE, last - first))
                if not piece:
                    raise _unreadable(part.path, "it has become shorter")
                first += len(piece)
                yield piece
    except OSError as error:
        raise _unreadable(part.path, error.strerror or "it can't be read") from error


def _unreadable(path: Path, why: str) -> RegistryError:
    return RegistryError(f"{path} can't be put into an image: {why}.", "Let nothing else write there, and try again.")
