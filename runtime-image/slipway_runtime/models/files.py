"""Careful reading of a model's files: an error names the file that can't be read, or isn't what its name says."""

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
MOST_VALUES = 2_000_000  # in one JSON text: each takes up to some 120 bytes of memory, and perhaps three bytes of text


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Reports any error while reading as a failure of the model, with the name of the file."""
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
            f"{path.name} can't be read: {error.strerror or error}.", "Check the volume; or fetch the model again."
        ) from error
    except Exception as error:  # an unforeseen error in an untrusted file is still that file's fault
        raise corrupt(f"{path.name} can't be parsed: {type(error).__name__}: {error}.") from error


def refuse_pointer(file: Path) -> None:
    """Refuses what is not a regular file, which may never end, and Git's placeholders for large files."""
    if file.exists() and not file.is_file():
        raise corrupt(f"{file.name} is not a regular file.")
    if _beginning(file, len(LFS_POINTER)) == LFS_POINTER:
        raise corrupt(
            f"{file.name} is only a Git LFS pointer to the file, not the file itself.",
            "Fetch the model with `git lfs pull`, or from the hub itself.",
        )


def read_json(file: Path, largest: int = LARGEST_CONFIG) -> JsonObject:
    """Returns a JSON object; anything else is corrupt."""
    with reading(file):
        refuse_pointer(file)
        there = file.stat().st_size
        if there > largest:
            raise corrupt(f"{file.name} is too large for a file of its kind: {there} bytes.")
        try:
            value = parse_json(_beginning(file, there))
        except (ValueError, RecursionError) as error:
            raise corrupt(f"{file.name} isn't valid JSON: {error}.") from None
        if not isinstance(value, dict):
            raise corrupt(f"{file.name} contains no JSON object.")
        return value


def parse_json(data: bytes) -> object:
    """Counts the values first: many small ones take far more memory than their text."""
    if sum(map(data.count, (b"{", b"[", b","))) > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES} values")
    value: object = json.loads(data)
    return value


def looks_like_json(file: Path) -> bool:
    """Returns whether a file, which may be large, starts and ends like a JSON object: a truncated one doesn't."""
    with file.open("rb") as stream:
        beginning = stream.read(64).lstrip()
        stream.seek(max(0, file.stat().st_size - 64))
        return beginning.startswith(b"{") and stream.read().rstrip().endswith(b"}")


def denied(error: PermissionError, path: Path) -> ModelError:
    return ModelError(
        Reason.MODEL_ACCESS_DENIED,
        f"{error.filename or path} can't be read by this user.",
        "Make the model's files readable for everyone, or set the pod's fsGroup to their group.",
    )


def size(count: int) -> str:
    """Returns a number of bytes for people."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024  # type: ignore[assignment]
    raise AssertionError


def _beginning(file: Path, length: int) -> bytes:
    with file.open("rb") as stream:
        return stream.read(length)
