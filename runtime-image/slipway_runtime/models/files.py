"""Reading a model's files with care: what can't be read, or is something else than its name says, is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slipway_runtime.failure import Reason
from slipway_runtime.models.problem import ModelError, corrupt

JsonObject = dict[str, Any]

LFS_POINTER = b"version https://git-lfs"
LARGEST_JSON = 64 << 20  # a config.json is a few kilobytes; what is larger than this isn't one


def refuse_pointer(file: Path) -> None:
    """Refuses the few lines that Git leaves in place of a large file."""
    if _beginning(file, len(LFS_POINTER)) == LFS_POINTER:
        raise corrupt(
            f"{file.name} is only Git's pointer to the file, not the file itself.",
            "Fetch the model with `git lfs pull`, or from the hub itself.",
        )


def read_json(file: Path) -> JsonObject:
    """A JSON object; anything else is corrupt."""
    refuse_pointer(file)
    if file.stat().st_size > LARGEST_JSON:
        raise corrupt(f"{file.name} is too large for what it should be: {file.stat().st_size} bytes.")
    try:
        value = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise corrupt(f"{file.name} isn't valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise corrupt(f"{file.name} holds no JSON object.")
    return value


def looks_like_json(file: Path) -> bool:
    """Whether a file, which may be large, begins and ends as a JSON object does: one cut short doesn't."""
    with file.open("rb") as stream:
        beginning = stream.read(64).lstrip()
        stream.seek(max(0, file.stat().st_size - 64))
        return beginning.startswith(b"{") and stream.read().rstrip().endswith(b"}")


def denied(error: PermissionError) -> ModelError:
    return ModelError(
        Reason.MODEL_ACCESS_DENIED,
        f"{error.filename} may not be read by this user.",
        "Let everybody read the model's files, or set the pod's fsGroup to their group.",
    )


def size(count: int) -> str:
    """A number of bytes for people."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024  # type: ignore[assignment]
    raise AssertionError


def _beginning(file: Path, length: int) -> bytes:
    with file.open("rb") as stream:
        return stream.read(length)
