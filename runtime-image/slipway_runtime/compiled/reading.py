"""Reads an entry into the scratch folder, in a process of its own: a store that doesn't answer must not block a start.

The process is forked, and so runs while the checks before the start do. It reports in one line of JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NoReturn

from slipway_runtime.compiled import snapshot
from slipway_runtime.compiled.archive import DamagedError, unpack
from slipway_runtime.compiled.manifest import Manifest
from slipway_runtime.compiled.scratch import Scratch
from slipway_runtime.compiled.store import (
    MissingError,
    ReplacedError,
    UnusableError,
    listed,
    name_of,
    nearest_differences,
    opened_entry,
)

PATIENCE = 120.0  # seconds for all of it
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What became of it."""

    reason: str
    """One sentence."""
    found: bool = False
    """Whether the scratch folder has the entry's files."""
    bytes: int = 0
    files: int = 0
    seconds: float = 0.0
    filled: Mapping[str, float] = field(default_factory=dict)


class Reader:
    """The process that reads. It is started before any thread of ours, since it is forked."""

    def __init__(self, root: Path, key: Mapping[str, str], scratch: Scratch) -> None:
        self._root, self._scratch, self._began = root, scratch, time.monotonic()
        self._pipe, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _report_and_exit(writing, root, key, scratch)
        os.close(writing)

    def result(self, patience: float = PATIENCE) -> Reading:
        """Waits for the end; a process that takes too long is killed, or left to the kernel if that doesn't help."""
        said = self._said(self._began + patience)
        os.close(self._pipe)
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # if it takes longer to end, it is reaped with the engine's processes
            os.waitpid(self._pid, os.WNOHANG)
        with suppress(ValueError, TypeError):
            return Reading(**json.loads(said))
        self._scratch.clear()
        if time.monotonic() - self._began >= patience:
            return Reading(reason=f"The store {self._root} didn't answer within {patience:g} s.")
        return Reading(reason=f"The process that reads the store {self._root} was killed, maybe for lack of memory.")

    def _said(self, until: float) -> bytes:
        """Returns what the process has reported, once it has ended; nothing if it hasn't in time."""
        pieces: list[bytes] = []
        while (left := until - time.monotonic()) > 0:
            if select.select([self._pipe], [], [], left)[0]:
                piece = os.read(self._pipe, 1 << 16)
                if not piece:
                    return b"".join(pieces)
                pieces.append(piece)
        return b""


def read(root: Path, key: Mapping[str, str], scratch: Scratch) -> Reading:
    """Unpacks the entry into the scratch folder, which is empty afterwards if that isn't possible."""
    began = time.monotonic()
    try:
        manifest = _unpacked(root, key, scratch)
    except MissingError:
        return Reading(reason=_why_there_is_none(root, key))
    except (UnusableError, DamagedError) as error:
        scratch.clear()
        return Reading(reason=f"The entry {name_of(key)} of {root} can't be used: {error}.")
    except OSError as error:
        scratch.clear()
        return Reading(reason=f"The entry {name_of(key)} can't be unpacked into {scratch.files}: {error.strerror}.")
    return Reading(
        reason=f"The entry {name_of(key)} of {root} was read.",
        found=True,
        bytes=manifest.size,
        files=manifest.files,
        seconds=time.monotonic() - began,
        filled=manifest.filled,
    )


def _unpacked(root: Path, key: Mapping[str, str], scratch: Scratch) -> Manifest:
    try:
        return _unpack(root, key, scratch)
    except ReplacedError:
        return _unpack(root, key, scratch)


def _unpack(root: Path, key: Mapping[str, str], scratch: Scratch) -> Manifest:
    with opened_entry(root, key) as (folder, manifest, content):
        partial = scratch.partial()
        unpack(content, partial, manifest)
        shutil.rmtree(scratch.files, ignore_errors=True)
        partial.rename(scratch.files)
        snapshot.save(snapshot.taken(scratch.files), scratch.snapshot)
        _mark_as_used(folder)
    return manifest


def _mark_as_used(folder: int) -> None:
    """The store's only change by a reader: unused entries are removed some day."""
    with suppress(OSError):
        os.utime("manifest.json", dir_fd=folder, follow_symlinks=False)


def _why_there_is_none(root: Path, key: Mapping[str, str]) -> str:
    if nearest := nearest_differences(root, key):
        return f"No entry of {root} fits this start: {listed(nearest)}."
    return f"The store {root} has no entry yet."


def _report_and_exit(pipe: int, root: Path, key: Mapping[str, str], scratch: Scratch) -> NoReturn:
    """The forked process; it ends with its parent."""
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        try:
            said = read(root, key, scratch)
        except Exception as error:  # a bug here costs the cache, and not the start
            scratch.clear()
            said = Reading(reason=f"The store {root} wasn't read: {type(error).__name__}: {error}.")
        os.write(pipe, json.dumps(asdict(said)).encode())
    finally:
        os._exit(0)
