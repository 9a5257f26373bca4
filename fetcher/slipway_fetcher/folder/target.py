"""The folder of a model, and what is next to it while it is made.

PARENT/NAME            the model: complete, with .slipway/fetched.json in it, or not there
PARENT/.NAME.partial/  a download: model/ becomes NAME, by one rename; a later run goes on with it
PARENT/.NAME.lock      see lock.py
PARENT/.NAME.progress  for those that wait for the lock
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_fetcher.folder.space import unwritable
from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.sources.base import RESERVED

RECORD = f"{RESERVED}/fetched.json"
FORMAT = 1


@dataclass(frozen=True)
class Record:
    """What a complete folder has, as stored in it."""

    request: dict[str, Any]
    version: str
    files: tuple[dict[str, Any], ...]  # path, size, and the digest that was compared, or null

    @property
    def size(self) -> int:
        return sum(int(file["size"]) for file in self.files)

    def as_json(self) -> dict[str, Any]:
        return {"format": FORMAT, "request": self.request, "version": self.version, "files": list(self.files)}


class Target:
    """A folder that is to have a model."""

    BESIDES = (".partial", ".discarded")  # the endings of folders

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))  # noqa: PTH100 - without resolving the last link
        self.parent, name = self.folder.parent, self.folder.name
        self.staging = self.parent / f".{name}.partial"
        self.model = self.staging / "model"
        self.archives = self.staging / "archives"
        self.lock = self.parent / f".{name}.lock"
        self.progress = self.parent / f".{name}.progress"
        self._discarded = self.parent / f".{name}.discarded"

    def record(self) -> Record | None:
        """What is there, if it is complete. Only sizes are compared: digests were, before the folder appeared."""
        try:
            found = json.loads((self.folder / RECORD).read_bytes())
            record = Record(found["request"], found["version"], tuple(found["files"]))
            complete = found["format"] == FORMAT and all(
                (self.folder / file["path"]).stat().st_size == file["size"] for file in record.files
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if complete else None

    def is_free(self, record: Record | None) -> bool:
        """Whether nothing would be lost: there is nothing, or a model of ours that is no longer complete."""
        if record:
            return False
        if (self.folder / RECORD).exists() or not self.folder.exists():
            return True
        return self.folder.is_dir() and not any(self.folder.iterdir())

    def check(self) -> None:
        """Refuses a folder that can't appear at once."""
        if is_mount_point(self.folder) or self.folder.is_symlink():
            kind = "a link" if self.folder.is_symlink() else "a mount point"
            raise FetchError(
                Reason.INVALID,
                f"{self.folder} is {kind}, so that a model can't appear there at once.",
                f"Name a folder in it, such as {self.folder / 'model'}, and mount that one by its subPath.",
            )
        try:
            self.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.parent, error) from error

    def begin(self) -> Path:
        """The folder of the download, where an earlier one may have left files; only for the one that has the lock."""
        try:
            for folder in (self.staging, self.model, self.archives):
                folder.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritable(self.staging, error) from error
        return self.staging

    def publish(self, record: Record) -> None:
        """Makes the model appear; what was there before disappears first."""
        try:
            file = self.model / RECORD
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(record.as_json(), indent=1) + "\n")
            for path in [file, *_folders(self.model)]:
                sync(path)
            self._discard()
            self.model.rename(self.folder)
            sync(self.parent)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        self.clean()

    @property
    def has_leftovers(self) -> bool:
        """Whether a run has ended between the model's appearance and the end of `clean`."""
        return any(path.exists() for path in (self.staging, self._discarded, self.progress))

    def clean(self) -> None:
        """Removes what is only needed on the way."""
        shutil.rmtree(self.staging, ignore_errors=True)
        shutil.rmtree(self._discarded, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.progress.unlink()

    def remove(self) -> None:
        """All of it but the lock, which the caller has. The model disappears first."""
        self._discard()
        self.clean()

    def _discard(self) -> None:
        shutil.rmtree(self._discarded, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            self.folder.rename(self._discarded)


def _folders(root: Path) -> Iterator[Path]:
    yield from (Path(folder) for folder, _, _ in os.walk(root))


def is_mount_point(folder: Path) -> bool:
    """Also of a folder of the same file system, as a subPath mounts it, which os.path.ismount doesn't see."""
    if folder.is_mount():
        return True
    with contextlib.suppress(OSError):
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        return str(folder).replace(" ", "\\040") in mounts
    return False


def sync(path: Path) -> None:
    """Until it is on the disk: a rename that survives a power failure must not name files that don't."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
