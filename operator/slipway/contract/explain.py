"""Why a container failed, read from the lines that it logged: one algorithm for both sides of the pod. Pure.

slipway-runtime explains an engine's end in the pod's termination message. Where that message is missing, because the
runtime was killed or the engine runs without it, the operator reads the end of the log and has to find the same reason.

A line in which slipway-runtime itself reports a failure decides. Otherwise the first row of the table that fits any
line decides, wherever that line is. The order of the lines says little: several processes write at the same time, and
retries and shutdown messages follow the cause, so the last known line is often only a consequence ("CUDA out of memory"
after "Free memory on device … is less than desired": another process has the memory). The order of the table is a
decision that was made in advance: causes before consequences, specific sentences before general ones.

This file is the same on both sides of the pod, so its imports are relative: `make generate` copies it from
runtime-image/slipway_runtime/contract to operator/slipway/contract.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import sentences
from .lines import telling
from .pod import TERMINATION_START


class Sentence(NamedTuple):
    """A row of a table: a regular expression for one line, what it means, and what to do."""

    pattern: str
    reason: str
    remedy: str = ""


class Explanation(NamedTuple):
    """Why a container failed: the reason, the line that says so, and what to do."""

    reason: str
    line: str
    remedy: str = ""


SENTENCES = tuple(map(Sentence._make, sentences.ROWS))
"""Those of all engines, and of what is below them."""


def explain(lines: Iterable[str], table: Sequence[Sentence] = SENTENCES) -> Explanation | None:
    """None: no line is known."""
    said = telling(lines)
    return reported(said) or known(said, table)


def reported(lines: Sequence[str]) -> Explanation | None:
    """The failure that slipway-runtime reported last, as a line of JSON in the format of the termination message."""
    for line in reversed(lines):
        if line.startswith(TERMINATION_START):
            try:
                found = json.loads(line)
                return Explanation(str(found["reason"]), str(found["message"]), str(found.get("remedy", "")))
            except (ValueError, KeyError, TypeError):
                continue
    return None


def known(lines: Sequence[str], table: Sequence[Sentence] = SENTENCES) -> Explanation | None:
    """The first row that fits any of the lines, with the first line that it fits."""
    for row in table:
        for line in lines:
            if re.search(row.pattern, line):
                return Explanation(row.reason, line.strip(), row.remedy)
    return None
