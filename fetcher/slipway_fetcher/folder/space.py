"""Room on the volume: checked before the first byte, and explained when it runs out nevertheless."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from slipway_fetcher.problem import FetchError, Reason

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def free(folder: Path) -> int:
    """Bytes that this user may write."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def check_room(folder: Path, needed: int) -> None:
    """`needed`: bytes that are still to be written."""
    if needed > (room := free(folder)):
        raise FetchError(
            Reason.FAILED,
            f"The volume of {folder} has {in_words(room)} free, and the model needs {in_words(needed)} more.",
            "Use a larger volume, remove models from it that aren't used, or choose fewer files with `files`.",
        )


def full(path: Path) -> FetchError:
    return FetchError(
        Reason.FAILED,
        f"The volume of {path} became full during the download.",
        "Use a larger volume, or find out what else writes to it; the next start goes on where this one ends.",
    )


def unwritable(path: Path, error: OSError) -> FetchError:
    """Why a file or folder of ours can't be written."""
    if error.errno in FULL:
        return full(path)
    return FetchError(
        Reason.FAILED,
        f"{path} can't be written: {error.strerror}.",
        "Mount a volume there that the user of this container may write to (pod.securityContext.fsGroup).",
    )


def in_words(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} B" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
