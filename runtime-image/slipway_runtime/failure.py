"""Why a model can't be served, as one value, and how it is reported: an exit code, and one line for Kubernetes.

The code that finds a failure creates the value: a check before the start, the diagnosis of the engine's output, or the
supervisor's watch over the engine. The operator reads the line, in the format of runtime-image/contract/pod.yaml.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slipway_runtime.contract.pod import TERMINATION_FIELDS, TERMINATION_LIMIT, TERMINATION_LOG
from slipway_runtime.contract.reasons import Reason

LONGEST_MESSAGE, LONGEST_REMEDY, LONGEST_LINE, LONGEST_WORD = 1200, 600, 500, 60  # bytes of JSON


@dataclass(frozen=True)
class Failure:
    """A cause: a word for programs, a sentence for people, one about what to do, and the engine's last lines."""

    reason: Reason
    message: str
    remedy: str = ""
    phase: str = ""  # in which it happened: of the start, or serving
    lines: tuple[str, ...] = ()


def termination_message(failure: Failure) -> str:
    """One line of JSON within the limit, with as many of the engine's newest lines as fit."""
    words = (
        str(failure.reason),
        _within(LONGEST_MESSAGE, failure.message),
        _within(LONGEST_REMEDY, failure.remedy),
        _within(LONGEST_WORD, failure.phase),
    )
    room = TERMINATION_LIMIT - _size(_fields(*words, [])) - len("\n")
    return _json(_fields(*words, _newest(failure.lines, room))) + "\n"


def write_termination_message(failure: Failure, path: Path = Path(TERMINATION_LOG)) -> bool:
    """Writes it in one call, because a mounted file can't be replaced by renaming; False if it can't be written."""
    return write_line(termination_message(failure), path)


def write_line(line: str, path: Path = Path(TERMINATION_LOG)) -> bool:
    """The same for a line of another form."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except OSError:
        return False
    try:
        text = line.encode()
        return os.write(file, text) == len(text)
    except OSError:
        return False
    finally:
        os.close(file)


def _fields(*values: object) -> dict[str, object]:
    return dict(zip(TERMINATION_FIELDS, values, strict=True))


def _newest(lines: Iterable[str], room: int) -> list[str]:
    chosen: list[str] = []
    for line in reversed([_within(LONGEST_LINE, line) for line in lines]):
        room -= _size(line) + len(", ")
        if room < 0:
            break
        chosen.insert(0, line)
    return chosen


def _within(most: int, text: str) -> str:
    """The text as one line of valid Unicode, cut if it takes more bytes as JSON than that."""
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
