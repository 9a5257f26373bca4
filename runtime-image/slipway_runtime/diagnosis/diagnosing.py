"""From an engine's last lines and its exit code to a failure. Pure.

`slipway_runtime.contract.explain` says what a line means, here as in the operator. Only the runtime also knows which
signal ended the engine, and whether the kernel sent it.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

from slipway_runtime.contract.explain import Explanation, known, reported
from slipway_runtime.contract.lines import last_words, quotes_clients, telling
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.diagnosis.signals import ended_by, signal_of
from slipway_runtime.failure import Failure

KEPT = 40  # lines that are attached to the failure; the termination message takes as many as fit
LOOK_AT_LINES = "Read its last lines in this message; the container's log has all of them."


def diagnose(lines: Sequence[str], exit_code: int, phase: str, *, for_memory: bool | None = None) -> Failure:
    """The cause, as far as it can be known.

    Exit codes are Python's: below zero they name a signal. `for_memory` says whether the kernel has killed a process of
    this container for lack of memory since the engine was started (see `kills_for_memory`).
    """
    lines = [line for line in lines if not quotes_clients(line)]
    said = telling(lines)
    found = (
        _explained(reported(said))
        or _by_sigkill(lines, exit_code, for_memory)
        or _explained(known(said))
        or _by_signal(lines, exit_code, for_memory)
        or _unknown(lines, exit_code)
    )
    return Failure(found.reason, found.message, found.remedy, phase, tuple(said[-KEPT:]))


def _explained(explanation: Explanation | None) -> Failure | None:
    if explanation is None or explanation.reason not in {*Reason}:
        return None
    return Failure(Reason(explanation.reason), explanation.line, explanation.remedy)


def _by_sigkill(lines: Sequence[str], exit_code: int, for_memory: bool | None) -> Failure | None:
    """SIGKILL comes before every known sentence: a process that is killed has no time to log why, so whatever it logged
    before was about something else."""
    if signal_of(exit_code, lines) == signal.SIGKILL:
        return ended_by(signal.SIGKILL, for_memory=for_memory)
    return None


def _by_signal(lines: Sequence[str], exit_code: int, for_memory: bool | None) -> Failure | None:
    number = signal_of(exit_code, lines)
    return ended_by(number, for_memory=for_memory) if number else None


def _unknown(lines: Sequence[str], exit_code: int) -> Failure:
    words = last_words(lines)
    ended = f"The engine ended unexpectedly with exit code {exit_code}"
    return Failure(
        Reason.ENGINE_CRASHED, f"{ended}: {words}" if words else f"{ended}, and logged nothing.", LOOK_AT_LINES
    )
