"""What it means when an engine is ended by a signal. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable

from slipway_runtime.failure import Failure, Reason

LARGEST_EXIT_CODE = 128  # above it, a shell tells of a signal
CORE_KILLED = re.compile(r"Failed core proc\(s\): \{.*: -(?P<number>\d+)")  # vLLM, of its child

MEANINGS = {
    signal.SIGILL: (
        "the processor lacks an instruction that the engine is built with",
        "Choose nodes with newer processors, or an image for older ones.",
    ),
    signal.SIGBUS: (
        "a file that it had mapped is shorter than it was, or /dev/shm is full",
        "Look whether the model's volume has changed under it, and give /dev/shm more room.",
    ),
}
NOT_US = "It is started anew; if it happens again, look for who sends it."
A_FAULT = "It is a fault of the engine or of its driver: try another version, and look into the node's kernel log."


def signal_of(exit_code: int, lines: Iterable[str]) -> int | None:
    """The signal, by the exit code, or by what vLLM tells of the process that did the work."""
    if exit_code < 0:
        return -exit_code
    if exit_code > LARGEST_EXIT_CODE:
        return exit_code - LARGEST_EXIT_CODE
    told = next((found for line in lines if (found := CORE_KILLED.search(line))), None)
    return int(told["number"]) if told else None


def ended_by(number: int, *, for_memory: bool | None) -> Failure:
    """What a signal means; of SIGKILL it has to be known whether the kernel sent it for want of memory."""
    name = _name(number)
    if number == signal.SIGKILL and for_memory:
        return Failure(
            Reason.HOST_OUT_OF_MEMORY,
            "The kernel killed the engine, because the container was at its limit of memory.",
            "Raise the memory limit in pod.resources, or lower engine.contextLength or maxConcurrency.",
        )
    if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        maybe = "; that may have been the kernel, for want of memory" if _may_be_kernel(number, for_memory) else ""
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
