"""Bind mounts, by the kernel's own calls: the image has no privileged programs to do it."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_MS_BIND, _UMOUNT_NOFOLLOW = 0x1000, 0x8
_ESCAPED = re.compile(r"\\([0-7]{3})")  # blanks and backslashes, as mountinfo writes them


def bind(folder: int, target: Path) -> None:
    """`folder` is open, so that it is the folder that was checked, whatever its path leads to by now."""
    source = f"/proc/self/fd/{folder}".encode()
    if _libc.mount(source, os.fsencode(target), None, ctypes.c_ulong(_MS_BIND), None):
        _fail(target)


def unmount(target: Path) -> None:
    if _libc.umount2(os.fsencode(target), _UMOUNT_NOFOLLOW):
        _fail(target)


def mounted() -> dict[Path, str]:
    """Each mount point that this process sees, and the path of what is mounted there within its file system."""
    lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    return {Path(_plain(fields[4])): _plain(fields[3]) for fields in map(str.split, lines)}


def _plain(field: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), field)


def _fail(target: Path) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), str(target))
