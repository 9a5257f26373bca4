"""Reading a model's files with care: what can't be read, or is something else than its name says, is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway_runtime.contract.reasons import Reason
from slipway_runtime.models.problem import ModelError, corrupt
from slipway_runtime.models.values import JsonObject, Unfit

LFS_POINTER = b"version https://git-lfs"
LARGEST_CONFIG = 16 << 20  # a config.json is a few kilobytes; with settings for each expert of many, a few megabytes
LARGEST_INDEX = 64 << 20  # for 200,000 tensors 25 MB
MOST_VALUES = 2_000_000  # of one JSON text: each takes up to some 120 bytes of memory, and of the text perhaps three


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever goes wrong with what is read is told as the model's failure, with the name of what was being read."""
    try:
        yield
    except ModelError:
        raise
    except Unfit as error:
        raise corrupt(f"{path.name}: {error}.") from None
    except PermissionError as error:
        raise denied(error, path) from None
    except OSError as error:
        raise corrupt(
            f"{path.name} can't be read: {error.strerror or error}.", "Look at the volume; or fetch the model again."
        ) from error
    except Exception as error:  # what nobody has foreseen in a stranger's file is still that file's affair
        raise corrupt(f"{path.name} can't be made sense of: {type(error).__name__}: {error}.") from error


def refuse_pointer(file: Path) -> None:
    """Refuses what is no file, which may never end, and the few lines that Git leaves in place of a large one."""
    if file.exists() and not file.is_file():
        raise corrupt(f"{file.name} is no file.")
    if _beginning(file, len(LFS_POINTER)) == LFS_POINTER:
        raise corrupt(
            f"{file.name} is only Git's pointer to the file, not the file itself.",
            "Fetch the model with `git lfs pull`, or from the hub itself.",
        )


def read_json(file: Path, largest: int = LARGEST_CONFIG) -> JsonObject:
    """A JSON object; anything else is corrupt."""
    with reading(file):
        refuse_pointer(file)
        there = file.stat().st_size
        if there > largest:
            raise corrupt(f"{file.name} is too large for what it should be: {there} bytes.")
        try:
            value = parse_json(_beginning(file, there))
        except (ValueError, RecursionError) as error:
            raise corrupt(f"{file.name} isn't valid JSON: {error}.") from None
        if not isinstance(value, dict):
            raise corrupt(f"{file.name} holds no JSON object.")
        return value


def parse_json(data: bytes) -> object:
    """Counts the values first: many small ones take far more memory than their text."""
    if sum(map(data.count, (b"{", b"[", b","))) > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES} values")
    value: object = json.loads(data)
    return value


def looks_like_json(file: Path) -> bool:
    """Whether a file, which may be large, begins and ends as a JSON object does: one cut short doesn't."""
    with file.open("rb") as stream:
        beginning = stream.read(64).lstrip()
        stream.seek(max(0, file.stat().st_size - 64))
        return beginning.startswith(b"{") and stream.read().rstrip().endswith(b"}")


def denied(error: PermissionError, path: Path) -> ModelError:
    return ModelError(
        Reason.MODEL_ACCESS_DENIED,
        f"{error.filename or path} may not be read by this user.",
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
