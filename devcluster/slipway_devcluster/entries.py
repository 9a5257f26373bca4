"""Folders and files of the cache: complete or absent, and checked when they are used.

A folder with its final name is complete: it is made under another name, and renamed. Its files are listed in its
`manifest.json`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict


@contextlib.contextmanager
def unfinished(final: Path) -> Iterator[Path]:
    """A new folder next to `final`, which is renamed to it if the block succeeds. The caller holds a lock."""
    final.parent.mkdir(parents=True, exist_ok=True)
    for left_by_a_killed_run in final.parent.glob(f".{final.name}.*"):
        shutil.rmtree(left_by_a_killed_run, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    try:
        folder.chmod(0o755)
        yield folder
        folder.rename(final)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Noted(TypedDict):
    """The entry of a file in the manifest."""

    size: int
    mtime_ns: int
    sha256: str


def write_manifest(folder: Path) -> None:
    """Record each file's size, time and checksum, so that damage is noticed when the folder is used."""
    files = {str(path.relative_to(folder)): _describe(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    (folder / "manifest.json").write_text(json.dumps(files, indent=1))


def find_damage(folder: Path) -> str | None:
    """What is wrong with a finished folder, if anything. Only files with another size or time are read."""
    try:
        files: dict[str, Noted] = json.loads((folder / "manifest.json").read_text())
        wrong = next((name for name, noted in files.items() if not _is_as_noted(folder / name, noted)), None)
    except (OSError, ValueError, KeyError, AttributeError):
        return "its manifest is unreadable"
    return f"{wrong} was changed or is gone" if wrong else None


def note_file(path: Path) -> None:
    """Record size, time and checksum of a single file, in a second file next to it."""
    _note_of(path).write_text(json.dumps(_describe(path)))


def is_whole(path: Path) -> bool:
    """Whether a file is there and unchanged since `note_file` was called."""
    try:
        noted: Noted = json.loads(_note_of(path).read_text())
        return _is_as_noted(path, noted)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def remove_noted(path: Path) -> None:
    path.unlink(missing_ok=True)
    _note_of(path).unlink(missing_ok=True)


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _is_as_noted(path: Path, noted: Noted) -> bool:
    if not path.is_file():
        return False
    now = path.stat()
    if (now.st_size, now.st_mtime_ns) == (noted["size"], noted["mtime_ns"]):
        return True
    if _sha256(path) != noted["sha256"]:
        return False
    os.utime(path, ns=(now.st_atime_ns, noted["mtime_ns"]))  # so that a copied cache is read completely only once
    return True


def _describe(path: Path) -> Noted:
    now = path.stat()
    return Noted(size=now.st_size, mtime_ns=now.st_mtime_ns, sha256=_sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
