"""Publishes the files of a scratch folder as an entry: a start at any moment finds the old entry or the new one.

The archive is written under another name, and renamed when it is complete; then the manifest that names it replaces the
old one. So two pods that publish at once both succeed, and the last one's entry stays.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway_runtime.compiled import snapshot
from slipway_runtime.compiled.archive import LONGEST_NAME, MOST_FOLDERS, Packed, pack
from slipway_runtime.compiled.eviction import (
    UNFINISHED,
    held_in,
    remove,
    remove_any,
    remove_oldest,
    remove_replaced,
    tidy,
)
from slipway_runtime.compiled.manifest import LARGEST, MOST_BYTES, MOST_FILES, NAME, Manifest
from slipway_runtime.compiled.snapshot import Seen
from slipway_runtime.compiled.store import UnusableError, name_of, opened_folder, read_manifest

FULL = (errno.ENOSPC, errno.EDQUOT)
TRIES = 5  # with files that are still written to
PER_FILE = 3072  # bytes of an archive besides a file's own: at most, with a long name and padding
NAMED = 3  # new files that are reported by name


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a start wants to be published."""

    root: str
    key: Mapping[str, str]
    files: str  # the scratch folder
    snapshot: str  # the file that lists what was unpacked or published before
    limit: int  # bytes for all entries
    nice: int = 0
    filled: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    published: bool = False
    reason: str = ""
    """A sentence, if something is new and isn't published."""
    new: int = 0
    """Files that were compiled; notes that a start makes about itself don't count."""
    newest: Sequence[str] = ()
    bytes: int = 0
    files: int = 0
    seconds: float = 0.0


class CannotPublishError(Exception):
    """The message is a sentence."""


def publish(request: Request) -> Outcome:
    """Publishes all files, if there is a new one."""
    began = time.monotonic()
    files = {name: seen for name, seen in _settled(Path(request.files)).items() if _can_be_packed(name)}
    new = snapshot.new_files(snapshot.load(Path(request.snapshot)), files)
    if not new:
        return Outcome()
    compiled = sorted((name for name in new if _is_compiled(name)), key=lambda name: files[name].changed)
    about: Any = {"new": len(compiled), "newest": compiled[-NAMED:]}
    try:
        packed = _write_entry(request, files)
    except CannotPublishError as error:
        return Outcome(reason=str(error), **about)
    except OSError as error:
        reason = f"The store {request.root} can't be written to: {error.strerror or error}."
        return Outcome(reason=reason, **about)
    with suppress(OSError):
        snapshot.save(files, Path(request.snapshot))
    seconds = time.monotonic() - began
    return Outcome(published=True, bytes=packed.size, files=packed.files, seconds=seconds, **about)


def _can_be_packed(name: str) -> bool:
    return len(os.fsencode(name)) <= LONGEST_NAME


def _is_compiled(name: str) -> bool:
    """The notes of a start are in the folder itself, and what is compiled in folders of vLLM, torch and Triton."""
    return "/" in name


def _settled(folder: Path) -> dict[str, Seen]:
    """Returns the files that are complete; waits a moment for those that someone may still be writing to."""
    for _ in range(TRIES):
        now = snapshot.taken(folder)
        done = snapshot.settled(now, time.time())
        if len(done) == len(now):
            break
        time.sleep(snapshot.SETTLED_AFTER)
    return done


def _write_entry(request: Request, files: Mapping[str, Seen]) -> Packed:
    root, name = Path(request.root), name_of(request.key)
    size = sum(seen.size + PER_FILE for seen in files.values())
    folders = {os.path.dirname(name) for name in files}  # noqa: PTH120 - thousands of times
    if len(files) > MOST_FILES or size > MOST_BYTES or sum(each.count("/") + 1 for each in folders) > MOST_FOLDERS:
        raise CannotPublishError(f"{len(files)} files with {size} bytes are too much for an entry.")
    if size > request.limit:
        raise CannotPublishError(f"The entry takes {size} bytes, and the store may have {request.limit}.")
    root.mkdir(parents=True, exist_ok=True)
    tidy(root, keep=name, limit=request.limit - size)
    with _entry_folder(root / name) as folder:
        _make_space(root, name, folder, size)
        while True:
            try:
                return _write_into(folder, request, files)
            except OSError as error:
                if error.errno not in FULL:
                    raise
                if not remove_oldest(root, keep=name):
                    raise CannotPublishError(f"The store {root} is full: the entry takes {size} bytes.") from None


def _make_space(root: Path, name: str, folder: int, size: int) -> None:
    """Removes contents that were replaced and then other entries, as far as the file system says that it is needed."""
    if _space(folder) < size:
        remove_replaced(folder, keep=_content_of(folder), now=time.time(), at_once=True)
    others = sum(each.bytes for each in held_in(root) if each.name != name)
    if _space(folder) + others < size:
        raise CannotPublishError(f"The store {root} is full: the entry takes {size} bytes.")
    while _space(folder) < size and remove_oldest(root, keep=name):
        pass


def _space(folder: int) -> int:
    found = os.fstatvfs(folder)
    return found.f_bavail * found.f_frsize


def _content_of(folder: int) -> str:
    """Returns the name of the content that is used now."""
    with suppress(OSError, UnusableError):
        if manifest := read_manifest(folder):
            return manifest.content
    return ""


def _write_into(folder: int, request: Request, files: Mapping[str, Seen]) -> Packed:
    with _unfinished(folder) as (name, file):
        with os.fdopen(file, "wb", closefd=False) as target:
            packed = pack(Path(request.files), files, target)
        _refuse_changes(Path(request.files), files)
        os.fsync(file)
        manifest = Manifest(
            key=request.key, digest=packed.digest, size=packed.size, files=packed.files, filled=request.filled
        )
        text = manifest.as_json()
        if len(text) >= LARGEST:
            raise CannotPublishError(f"The key takes {len(text)} bytes, which is too much for a manifest.")
        _rename(name, manifest.content, folder)
    with _unfinished(folder) as (name, file):
        os.write(file, text)
        os.fsync(file)
        _rename(name, NAME, folder)
    remove_replaced(folder, keep=manifest.content, now=time.time())
    return packed


def _refuse_changes(folder: Path, files: Mapping[str, Seen]) -> None:
    now = snapshot.taken(folder)
    if changed := [name for name, seen in files.items() if now.get(name) != seen]:
        raise CannotPublishError(f"{changed[0]} was changed while it was published.")


def _rename(name: str, final: str, folder: int) -> None:
    """Renames durably. A folder in the way, which no entry has, is removed."""
    try:
        os.rename(name, final, src_dir_fd=folder, dst_dir_fd=folder)
    except IsADirectoryError:
        remove_any(final, folder)
        os.rename(name, final, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


@contextmanager
def _entry_folder(path: Path) -> Iterator[int]:
    """Opens the entry's folder, which is created if need be; anything else in its place is removed."""
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(path.lstat().st_mode):
            remove(path)
    path.mkdir(exist_ok=True)
    with suppress(OSError):  # it is another pod's
        path.chmod(0o775)
    with opened_folder(path) as folder:
        yield folder


@contextmanager
def _unfinished(folder: int) -> Iterator[tuple[str, int]]:
    """Creates a file for writing, which is gone at the end unless it was renamed."""
    name = f"{UNFINISHED}{secrets.token_hex(8)}"
    file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o664, dir_fd=folder)
    try:
        yield name, file
    finally:
        os.close(file)
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
