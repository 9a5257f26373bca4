"""Whether a file has the digest that its source names for it. It is read in pieces: memory stays bounded."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

import google_crc32c

from slipway_fetcher.sources.base import Digest

PIECE = 1 << 20


def matches(file: Path, digest: Digest) -> bool:
    with FileIO(file) as opened:
        return ALGORITHMS[digest.algorithm](opened, digest, file.stat().st_size) == digest.value


def _pieces(file: FileIO, most: int | None = None) -> Iterator[bytes]:
    left = most
    while piece := file.read(PIECE if left is None else min(PIECE, left)):
        yield piece
        left = None if left is None else left - len(piece)


def _hashed(name: str) -> Callable[[FileIO, Digest, int], str]:
    return lambda file, _digest, _size: hashlib.file_digest(
        file, lambda: hashlib.new(name, usedforsecurity=False)
    ).hexdigest()


def _git(file: FileIO, _digest: Digest, size: int) -> str:
    """Git hashes a header, too."""
    found = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    for piece in _pieces(file):
        found.update(piece)
    return found.hexdigest()


def _md5_of_parts(file: FileIO, digest: Digest, _size: int) -> str:
    """The ETag of an S3 object that was uploaded in parts: the MD5 of the parts' MD5s, and their number."""
    whole = hashlib.md5(usedforsecurity=False)
    for size in digest.parts:
        part = hashlib.md5(usedforsecurity=False)
        for piece in _pieces(file, size):
            part.update(piece)
        whole.update(part.digest())
    return f"{whole.hexdigest()}-{len(digest.parts)}"


def _crc32c(file: FileIO, _digest: Digest, _size: int) -> str:
    found = 0
    for piece in _pieces(file):
        found = google_crc32c.extend(found, piece)
    return f"{found:08x}"


def _crc32(file: FileIO, _digest: Digest, _size: int) -> str:
    found = 0
    for piece in _pieces(file):
        found = zlib.crc32(piece, found)
    return f"{found:08x}"


ALGORITHMS: dict[str, Callable[[FileIO, Digest, int], str]] = {
    "sha256": _hashed("sha256"),
    "md5": _hashed("md5"),
    "git-sha1": _git,
    "md5-parts": _md5_of_parts,
    "crc32": _crc32,
    "crc32c": _crc32c,
}
