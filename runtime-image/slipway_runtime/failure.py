"""Why a model can't be served, as one value, and how it is told: an exit code, and one line for Kubernetes.

Whoever finds the failure makes the value: a check before the start, the reading of the engine's output, the watch over
the engine's life. The operator reads the line, so the reasons are its words.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

TERMINATION_LOG = Path("/dev/termination-log")  # where Kubernetes looks if the pod names no other file
LARGEST = 4095  # bytes; Kubernetes cuts what is longer, and half a line of JSON says nothing
LONGEST_MESSAGE, LONGEST_REMEDY, LONGEST_LINE, LONGEST_WORD = 1200, 600, 500, 60  # bytes of JSON


class Reason(StrEnum):
    """Those of the operator's reasons that the runtime can find."""

    BAD_ENGINE_ARGUMENTS = "BadEngineArguments"
    POD_CONFIG_ERROR = "PodConfigError"
    MODEL_NOT_FOUND = "ModelNotFound"
    MODEL_ACCESS_DENIED = "ModelAccessDenied"
    MODEL_CORRUPT = "ModelCorrupt"
    UNSUPPORTED_ARCHITECTURE = "UnsupportedArchitecture"
    QUANTIZATION_MISMATCH = "QuantizationMismatch"
    GPU_UNHEALTHY = "GpuUnhealthy"
    DRIVER_MISMATCH = "DriverMismatch"
    GPU_BUSY = "GpuBusy"
    GPU_OUT_OF_MEMORY = "GpuOutOfMemory"
    HOST_OUT_OF_MEMORY = "HostOutOfMemory"
    CONTEXT_TOO_LONG = "ContextTooLong"
    ENGINE_CRASHED = "EngineCrashed"
    START_TIMEOUT = "StartTimeout"
    ENGINE_STUCK = "EngineStuck"
    UNKNOWN = "Unknown"


EXIT_CODES = {
    # how it was started
    Reason.BAD_ENGINE_ARGUMENTS: 2,
    Reason.POD_CONFIG_ERROR: 3,
    # the model
    Reason.MODEL_NOT_FOUND: 10,
    Reason.MODEL_ACCESS_DENIED: 11,
    Reason.MODEL_CORRUPT: 12,
    Reason.UNSUPPORTED_ARCHITECTURE: 13,
    Reason.QUANTIZATION_MISMATCH: 14,
    # the accelerator
    Reason.GPU_UNHEALTHY: 20,
    Reason.DRIVER_MISMATCH: 21,
    Reason.GPU_BUSY: 22,
    # memory
    Reason.GPU_OUT_OF_MEMORY: 30,
    Reason.HOST_OUT_OF_MEMORY: 31,
    Reason.CONTEXT_TOO_LONG: 32,
    # the engine
    Reason.ENGINE_CRASHED: 40,
    Reason.START_TIMEOUT: 41,
    Reason.ENGINE_STUCK: 42,
    Reason.UNKNOWN: 50,
}


@dataclass(frozen=True)
class Failure:
    """A cause: one word for programs, one sentence for people, one on what to do, and what the engine said last."""

    reason: Reason
    message: str
    remedy: str = ""
    phase: str = ""  # of the start, or of serving
    lines: tuple[str, ...] = ()


def exit_code_of(reason: Reason) -> int:
    """Distinct for each reason, alike in tens for each class, and never 0."""
    return EXIT_CODES[reason]


def termination_message(failure: Failure) -> str:
    """One line of JSON that fits; of the engine's lines the newest that there is room for."""
    told = {
        "reason": str(failure.reason),
        "message": _within(LONGEST_MESSAGE, failure.message),
        "remedy": _within(LONGEST_REMEDY, failure.remedy),
        "phase": _within(LONGEST_WORD, failure.phase),
    }
    room = LARGEST - _size({**told, "lines": []}) - len("\n")
    return _json({**told, "lines": _newest(failure.lines, room)}) + "\n"


def write_termination_message(failure: Failure, path: Path = TERMINATION_LOG) -> bool:
    """Writes it in one go, for a mounted file can't be replaced by another; False where it can't be written."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except OSError:
        return False
    try:
        text = termination_message(failure).encode()
        return os.write(file, text) == len(text)
    except OSError:
        return False
    finally:
        os.close(file)


def _newest(lines: Iterable[str], room: int) -> list[str]:
    chosen: list[str] = []
    for line in reversed([_within(LONGEST_LINE, line) for line in lines]):
        room -= _size(line) + len(", ")
        if room < 0:
            break
        chosen.insert(0, line)
    return chosen


def _within(most: int, text: str) -> str:
    """In one line of valid Unicode, cut where it takes more bytes as JSON."""
    line = " ".join(text.encode(errors="replace").decode().split())
    if _size(line) <= most:
        return line
    while _size(line) > most - len("…".encode()):
        line = line[: len(line) * 9 // 10]
    return line + "…"


def _size(value: object) -> int:
    return len(_json(value).encode())


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
