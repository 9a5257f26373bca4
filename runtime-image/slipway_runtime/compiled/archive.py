"""The content of an entry as one file: a tar archive of regular files, and nothing else.

Network file systems are slow with thousands of small files, and one file is complete or not. The reader is written
here, because it must not create anything but regular files in a folder of its own, whatever the archive contains, and
because Python's own takes longer than everything else that is done with a file of a few kilobytes.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

BLOCK = 512
AT_ONCE = 1 << 20
LONGEST_NAME, LONGEST_PART = 1024, 255  # bytes
MOST_FOLDERS = 20_000
REGULAR, LONG_NAME = b"0", b"L"
MAGIC = b"ustar  \0"  # of GNU's format, which has names of any length
NUMBERS = ((124, 136), (100, 108), (136, 148))  # where a header has size, mode and time
EXECUTABLE = 0o111


class DamagedError(Exception):
    """The archive isn't one that was written here, or no longer; the message says what is wrong."""


class Packed(NamedTuple):
    digest: str
    size: int  # bytes
    files: int


class Limits(Protocol):
    """What a manifest announces."""

    @property
    def digest(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def files(self) -> int: ...


# --- packing ---------------------------------------------------------------------------------------------------------


def pack(folder: Path, names: Iterable[str], to: BinaryIO) -> Packed:
    """Writes the files in the given order. The same files make the same archive. OSError: one of them has changed."""
    target, files = _Hashing(to), 0
    with tarfile.TarFile(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in names:
            with (folder / name).open("rb") as file:
                found = os.fstat(file.fileno())
                about = tarfile.TarInfo(name)
                about.size, about.mtime = found.st_size, max(0, int(found.st_mtime))
                about.mode = 0o755 if found.st_mode & EXECUTABLE else 0o644
                archive.addfile(about, file)
                files += 1
    return Packed(target.hash.hexdigest(), target.size, files)


class _Hashing(io.RawIOBase):
    """A file to write to, with the digest of what was written."""

    def __init__(self, to: BinaryIO) -> None:
        self._to, self.hash, self.size = to, hashlib.sha256(), 0

    def write(self, piece: Any) -> int:
        self.hash.update(piece)
        self.size += len(piece)
        return self._to.write(piece)

    def tell(self) -> int:
        return self.size


# --- unpacking -------------------------------------------------------------------------------------------------------


def unpack(file: int, into: Path, limits: Limits) -> None:
    """Reads an archive once, from a file descriptor, into an empty folder of our own, and compares its digest at the
    end. Nothing may be used of the folder if this raises."""
    source, folders, files = _Source(file, limits.size), {str(into)}, 0
    long_name = None
    while (header := source.read(BLOCK)).strip(b"\0"):
        name, size, mode, changed, kind = _header(header)
        if kind == LONG_NAME and long_name is None and size <= LONGEST_NAME + 1:
            long_name = source.read(_padded(size))[:size].rstrip(b"\0")
            continue
        if kind != REGULAR:
            raise DamagedError("it contains something that is not a regular file")
        files += 1
        if files > limits.files:
            raise DamagedError(f"it contains more than the {limits.files} files that its manifest names")
        path = f"{into}/{_safe(long_name or name)}"
        long_name = None
        _make_folder(os.path.dirname(path), folders)  # noqa: PTH120 - thousands of times
        _write(source, path, size, 0o755 if mode & EXECUTABLE else 0o644, changed)
    digest = source.finish()
    if files != limits.files:
        raise DamagedError(f"it contains {files} files, and its manifest names {limits.files}")
    if digest != limits.digest:
        raise DamagedError("its content has another digest than its manifest names")


class _Source:
    """An archive that is read once, and hashed meanwhile by another thread: creating files takes about as long."""

    def __init__(self, file: int, size: int) -> None:
        self._file, self._left = file, size
        self._buffer, self._at = b"", 0
        self._hash = hashlib.sha256()
        self._pool = ThreadPoolExecutor(1)
        self._hashing: Future[None] | None = None

    def read(self, size: int) -> bytes:
        """Returns exactly that many bytes."""
        piece = self._buffer[self._at : self._at + size]
        self._at += len(piece)
        if len(piece) == size:
            return piece
        pieces, missing = [piece], size - len(piece)
        while missing:
            self._fill()
            piece = self._buffer[:missing]
            self._at = len(piece)
            missing -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def finish(self) -> str:
        """Reads the rest, which is padding; returns the digest of everything."""
        if self._left > tarfile.RECORDSIZE:
            raise DamagedError("it ends long before its file does")
        while self._left:
            self._fill()
        self._pool.shutdown()
        return self._hash.hexdigest()

    def _fill(self) -> None:
        try:
            self._buffer, self._at = os.read(self._file, min(AT_ONCE, self._left)), 0
        except OSError as error:  # of the store; those of the folder that is written to are raised as they are
            raise DamagedError(f"it can't be read: {error.strerror}") from None
        if not self._buffer:
            raise DamagedError("it is shorter than its manifest says")
        self._left -= len(self._buffer)
        if self._hashing:
            self._hashing.result()
        self._hashing = self._pool.submit(self._hash.update, self._buffer)


def _header(block: bytes) -> tuple[bytes, int, int, int, bytes]:
    """Returns name, size, mode, time of the last change, and kind of a member."""
    try:
        checksum = int(block[148:156].rstrip(b" \0"), 8)
        size, mode, changed = (int(block[a:b].rstrip(b" \0") or b"0", 8) for a, b in NUMBERS)
    except ValueError:
        raise DamagedError("it is not a tar archive") from None
    if block[257:265] != MAGIC or checksum != sum(block[:148]) + sum(block[156:]) + 8 * ord(" ") or size < 0:
        raise DamagedError("it is not a tar archive")
    return block[:100].partition(b"\0")[0], size, mode, changed, block[156:157]


def _safe(name: bytes) -> str:
    parts = name.split(b"/")
    if any(part in (b"", b".", b"..") for part in parts):
        raise DamagedError("it contains a file whose name leads out of the folder")
    if len(name) > LONGEST_NAME or max(map(len, parts)) > LONGEST_PART or b"\0" in name:
        raise DamagedError("it contains a file whose name is too long, or no name")
    return os.fsdecode(name)


def _make_folder(folder: str, made: set[str]) -> None:
    """Makes a folder and those above it, as far as they aren't made."""
    if folder in made:
        return
    _make_folder(os.path.dirname(folder), made)  # noqa: PTH120 - thousands of times
    if len(made) > MOST_FOLDERS:
        raise DamagedError(f"it contains more than {MOST_FOLDERS} folders")
    try:
        os.mkdir(folder, 0o755)  # noqa: PTH102 - thousands of times
    except (FileExistsError, NotADirectoryError):
        raise DamagedError("it contains a folder and a file of the same name") from None
    made.add(folder)


def _write(source: _Source, path: str, size: int, mode: int, changed: int) -> None:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except (FileExistsError, IsADirectoryError):
        raise DamagedError("it contains two files of the same name") from None
    try:
        left = size
        while left:
            piece = source.read(min(left, AT_ONCE))
            left -= len(piece)
            _write_all(file, piece)
        source.read(_padded(size) - size)
        os.utime(file, (changed, changed))
    finally:
        os.close(file)


def _write_all(file: int, piece: bytes) -> None:
    while piece:
        piece = piece[os.write(file, piece) :]


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
