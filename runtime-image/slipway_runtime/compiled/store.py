"""The folder that holds the entries, opened so that nothing in it can lead elsewhere or keep the start waiting.

Others may have written to it, and it may be a network file system: a link, a pipe or a folder where a file is expected
is an entry that can't be used, and nothing more.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from slipway_runtime.compiled.manifest import LARGEST, NAME, Manifest

ENTRY = re.compile(r"[0-9a-f]{32}")
"""The names of entries. Whatever else is in a store isn't touched."""
MOST_COMPARED = 32  # entries whose keys are compared, to explain why none fits
MOST_LISTED = 8  # differences that are named
GONE = (errno.ENOENT, errno.ESTALE)


class UnusableError(Exception):
    """The entry can't be used; the message says why, as the end of a sentence about it."""


class ReplacedError(UnusableError):
    """Another start may have replaced the entry just now."""


class MissingError(Exception):
    """There is no entry for this key."""


def name_of(key: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:32]


@contextmanager
def opened_folder(path: Path | str, within: int | None = None) -> Iterator[int]:
    """Opens a folder that is no link."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def opened_file(name: str, within: int) -> Iterator[int]:
    """Opens a regular file; without waiting, if it is a pipe."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=within)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise UnusableError(f"its {name} is not a regular file")
        yield file
    finally:
        os.close(file)


@contextmanager
def opened_entry(root: Path, key: Mapping[str, str]) -> Iterator[tuple[int, Manifest, int]]:
    """Opens an entry: its folder, its manifest, and its content. Raises MissingError or UnusableError."""
    with ExitStack() as stack:
        with _explained():
            folder = stack.enter_context(opened_folder(root / name_of(key)))
            manifest = _manifest_in(folder, key)
        with _explained(missing=ReplacedError("its content is missing")):
            content = stack.enter_context(opened_file(manifest.content, folder))
        size = os.fstat(content).st_size
        if size != manifest.size:
            raise UnusableError(f"its content has {size} bytes, and its manifest names {manifest.size}")
        yield folder, manifest, content


def read_manifest(folder: int) -> Manifest | None:
    with opened_file(NAME, folder) as file:
        return Manifest.read(_read(file))


def nearest_differences(root: Path, key: Mapping[str, str]) -> list[str]:
    """Returns in words why the entry that fits best can't serve this start; nothing if there is no entry."""
    found = [difference(key, manifest.key) for manifest in _manifests(root)]
    return min(found, key=len, default=[])


def difference(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    return [
        f"{_short(name)} is {_short(ours.get(name))}, and was {_short(theirs.get(name))}"
        for name in sorted(set(ours) | set(theirs))
        if ours.get(name) != theirs.get(name)
    ]


def listed(differences: list[str]) -> str:
    more = f"; and {len(differences) - MOST_LISTED} more" if len(differences) > MOST_LISTED else ""
    return "; ".join(differences[:MOST_LISTED]) + more


def entries(root: Path) -> list[str]:
    with os.scandir(root) as found:
        return sorted(each.name for each in found if ENTRY.fullmatch(each.name))


def _manifests(root: Path) -> Iterator[Manifest]:
    with suppress(OSError):
        for name in entries(root)[:MOST_COMPARED]:
            with suppress(OSError, UnusableError), opened_folder(root / name) as folder:
                if manifest := read_manifest(folder):
                    yield manifest


def _manifest_in(folder: int, key: Mapping[str, str]) -> Manifest:
    manifest = read_manifest(folder)
    if manifest is None:
        raise UnusableError(f"its {NAME} is damaged")
    if differences := difference(key, manifest.key):
        raise UnusableError(f"it is for something else: {listed(differences)}")
    return manifest


def _read(file: int) -> bytes:
    pieces, left = [], LARGEST
    while left and (piece := os.read(file, left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces) if left else b""


def _short(value: str | None) -> str:
    if value is None:
        return "not set"
    printable = "".join(letter if letter.isprintable() else "?" for letter in value[:100])  # it goes to the log
    return printable if len(value) <= 100 else f"{printable}…"


@contextmanager
def _explained(missing: Exception | None = None) -> Iterator[None]:
    """Turns errors of the file system into those of an entry."""
    try:
        yield
    except OSError as error:
        if error.errno in GONE:
            raise missing or MissingError from None
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise UnusableError("it has a link or a file where it should have a folder or a file of its own") from None
        raise UnusableError(f"it can't be read: {error.strerror}") from None
