"""What it means when a signal ends an engine. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable

from slipway_runtime.contract.reasons import Reason
from slipway_runtime.failure import Failure

LARGEST_EXIT_CODE = 128  # above it, a shell reports the signal that ended its child
CORE_KILLED = re.compile(r"Failed core proc\(s\): \{.*: -(?P<number>\d+)")  # vLLM, about its child

MEANINGS = {
    signal.SIGILL: (
        "the processor lacks an instruction that the engine is built with",
        "Choose nodes with newer processors, or an image for older ones.",
    ),
    signal.SIGBUS: (
        "a file that it had mapped became shorter, or /dev/shm is full",
        "Check whether the model's volume was changed while it was in use, and make /dev/shm larger.",
    ),
}
NOT_US = "It is restarted; if this happens again, find out who or what sends the signal."
A_FAULT = "This is a bug of the engine or of its driver: try another version, and check the node's kernel log."


def signal_of(exit_code: int, lines: Iterable[str]) -> int | None:
    """The signal, from the exit code, or from what vLLM logs about the process that did the work."""
    if exit_code < 0:
        return -exit_code
    if exit_code > LARGEST_EXIT_CODE:
        return exit_code - LARGEST_EXIT_CODE
    told = next((found for line in lines if (found := CORE_KILLED.search(line))), None)
    return int(told["number"]) if told else None


def ended_by(number: int, *, for_memory: bool | None) -> Failure:
    """What a signal means. `for_memory`: whether the kernel sent SIGKILL for lack of memory; None if it isn't known."""
    name = _name(number)
    if number == signal.SIGKILL and for_memory:
        return Failure(
            Reason.HOST_OUT_OF_MEMORY,
            "The kernel killed the engine, because the container was at its limit of memory.",
            "Raise the memory limit in pod.resources, or lower engine.contextLength or engine.maxConcurrency.",
        )
    if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        maybe = "; that may have been the kernel, for lack of memory" if _may_be_kernel(number, for_memory) else ""
        return Failure(Reason.ENGINE_CRASHED, f"The engine was ended from outside, by {name}{maybe}.", NOT_US)
    meaning, remedy = next((told for each, told in MEANINGS.items() if each == number), ("", A_FAULT))
    return Failure(Reason.ENGINE_CRASHED, f"The engine crashed by {name}{f': {meaning}' if meaning else ''}.", remedy)


def _may_be_kernel(number: int, for_memory: bool | None) -> bool:
    return number == signal.SIGKILL and for_memory is None


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
