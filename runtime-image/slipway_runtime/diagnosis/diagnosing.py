"""From an engine's last lines and exit code to a failure. Pure."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence

from slipway_runtime.diagnosis.known import KNOWN
from slipway_runtime.diagnosis.lines import last_words, quotes_clients, telling
from slipway_runtime.diagnosis.signals import ended_by, signal_of
from slipway_runtime.failure import Failure, Reason

KEPT = 40  # lines that go with the failure; the termination message takes as many as fit
LOOK_AT_LINES = "Its last lines are with this message; the container's log has all of them."


def diagnose(lines: Sequence[str], exit_code: int, phase: str, *, for_memory: bool | None = None) -> Failure:
    """The cause, as far as it can be known.

    Exit codes are Python's: below zero they name a signal. `for_memory` says whether the kernel has killed a process of
    this container for want of memory since the engine was started (see `kills_for_memory`).
    """
    lines = [line for line in lines if not quotes_clients(line)]
    said = telling(lines)
    found = (
        _told_by_ourselves(said)
        or _by_sigkill(lines, exit_code, for_memory)
        or _known(said)
        or _by_signal(lines, exit_code, for_memory)
        or _unknown(lines, exit_code)
    )
    return Failure(found.reason, found.message, found.remedy, phase, tuple(said[-KEPT:]))


def _told_by_ourselves(lines: Sequence[str]) -> Failure | None:
    """A process of ours that gives up says so in the form of a termination message."""
    for line in reversed(lines):
        if line.startswith('{"reason"'):
            try:
                told = json.loads(line)
                return Failure(Reason(told["reason"]), str(told["message"]), str(told.get("remedy", "")))
            except (ValueError, KeyError, TypeError):
                continue
    return None


def _known(lines: Sequence[str]) -> Failure | None:
    for known in KNOWN:
        for line in lines:
            if known.fits(line):
                return Failure(known.reason, line.strip(), known.remedy)
    return None


def _by_sigkill(lines: Sequence[str], exit_code: int, for_memory: bool | None) -> Failure | None:
    """Who is killed has no time to say why: whatever it has said before was about something else."""
    if signal_of(exit_code, lines) == signal.SIGKILL:
        return ended_by(signal.SIGKILL, for_memory=for_memory)
    return None


def _by_signal(lines: Sequence[str], exit_code: int, for_memory: bool | None) -> Failure | None:
    number = signal_of(exit_code, lines)
    return ended_by(number, for_memory=for_memory) if number else None


def _unknown(lines: Sequence[str], exit_code: int) -> Failure:
    words = last_words(lines)
    ended = f"The engine ended by itself with exit code {exit_code}"
    return Failure(Reason.ENGINE_CRASHED, f"{ended}: {words}" if words else f"{ended} and said nothing.", LOOK_AT_LINES)
