"""How the end of a run is reported: a line of JSON, an exit code, and Kubernetes' termination message.

The message has the fields that the runtime in the pods writes (runtime-image/contract/pod.yaml), so that the operator
reads both alike.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from slipway_fetcher.folder.target import Record
from slipway_fetcher.problem import FetchError
from slipway_fetcher.progress import Progress

LIMIT = 4095  # bytes; Kubernetes cuts what is longer
LONGEST = 1500  # characters of a sentence; at most four bytes each would be too many, and no sentence has them


FETCHED_START = "slipway-fetched-1:"
"""As runtime-image/contract/pod.yaml has it."""


def report_success(record: Record, folder: Path, termination_log: Path) -> None:
    """Which version is there: what a container leaves for those that look at it later."""
    found = {"folder": folder.name, "version": record.version, "bytes": record.size, "files": len(record.files)}
    with contextlib.suppress(OSError):
        write(termination_log, FETCHED_START + json.dumps(found) + "\n")


def report_failure(error: FetchError, progress: Progress, termination_log: Path, phase: str = "fetching") -> int:
    """Returns the exit code."""
    progress.event("failed", reason=str(error.reason), message=error.message, remedy=error.remedy)
    with contextlib.suppress(OSError):
        write(termination_log, termination_message(error, phase))
    return error.reason.exit_code


def termination_message(error: FetchError, phase: str = "fetching") -> str:
    longest = LONGEST
    while True:
        message, remedy = (" ".join(text.split())[:longest] for text in (error.message, error.remedy))
        fields = {"reason": str(error.reason), "message": message, "remedy": remedy, "phase": phase, "lines": []}
        line = json.dumps(fields, ensure_ascii=False) + "\n"
        if len(line.encode(errors="replace")) <= LIMIT:
            return line
        longest = longest * 3 // 4


def write(file: Path, text: str) -> None:
    """In one call, and without making the file: where Kubernetes hasn't mounted it, there is no one to read it."""
    descriptor = os.open(file, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode(errors="replace"))
    finally:
        os.close(descriptor)
