"""Bind mounts, by the kernel's own calls: the image has no privileged programs to do it."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_libc = ctypes.CDLL(None, use_errno=True)
_MS_BIND, _UMOUNT_NOFOLLOW = 0x1000, 0x8
_ESCAPED = re.compile(rb"\\([0-3][0-7]{2})")  # blanks, line ends and backslashes, as mountinfo writes them


@dataclass(frozen=True)
class Mount:
    """A mount that this process sees."""

    device: str
    root: str  # the path of what is mounted, within its file system
    target: Path


def bind(folder: int, target: Path) -> None:
    """`folder` is open, so that it is the folder that was checked, whatever its path leads to by now."""
    source = f"/proc/self/fd/{folder}".encode()
    if _libc.mount(source, os.fsencode(target), None, ctypes.c_ulong(_MS_BIND), None):
        _fail(target)


def unmount(target: Path) -> None:
    if _libc.umount2(os.fsencode(target), _UMOUNT_NOFOLLOW):
        _fail(target)


def mounted() -> list[Mount]:
    """In the order in which they were made."""
    return parsed(Path("/proc/self/mountinfo").read_bytes())


def parsed(mountinfo: bytes) -> list[Mount]:
    """Split only where the kernel does: a tenant chooses names in it, and may use any other blank and line end."""
    lines = (line.split(b" ") for line in mountinfo.split(b"\n"))
    return [Mount(_plain(line[2]), _plain(line[3]), Path(_plain(line[4]))) for line in lines if len(line) >= 5]


def where(path: Path, mounts: Iterable[Mount]) -> tuple[str, PurePosixPath]:
    """The device on which it is, and its path within that file system, as `Mount` has both. OSError."""
    above = [mount for mount in mounts if path.is_relative_to(mount.target)]
    if not above:
        raise FileNotFoundError(f"no mount is seen in which {path} is")
    nearest = max(reversed(above), key=lambda mount: len(mount.target.parts))  # of several in one place, the last
    return nearest.device, PurePosixPath(nearest.root) / path.relative_to(nearest.target)


def _plain(field: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), field))


def _fail(target: Path) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), str(target))
