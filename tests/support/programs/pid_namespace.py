"""Runs a command as process 1 of a new pid namespace: `python -m support.programs.pid_namespace MILLISECONDS COMMAND`.

It sends SIGTERM that long after the first moment at which the command wouldn't lose the signal. It prints how many
microseconds passed until that moment, and exits with the command's exit code.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000
NOT_POSSIBLE = 77


def main(milliseconds: int, command: Sequence[str]) -> int:
    flags = CLONE_NEWPID if os.getuid() == 0 else CLONE_NEWPID | CLONE_NEWUSER
    if ctypes.CDLL(None, use_errno=True).unshare(flags) != 0:
        return NOT_POSSIBLE
    reading, writing = os.pipe()  # it is closed when the command is executed
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.execvp(command[0], list(command))
    os.close(writing)
    os.read(reading, 1)
    executed_at = time.perf_counter_ns()
    while not _keeps(pid, signal.SIGTERM):
        pass
    sys.stdout.write(f"{(time.perf_counter_ns() - executed_at) // 1000}\n")
    time.sleep(milliseconds / 1000)
    os.kill(pid, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _keeps(pid: int, number: signal.Signals) -> bool:
    """Whether the process blocks the signal, or handles it."""
    masks = [line.split()[1] for line in _status(pid).splitlines() if line.startswith(("SigBlk:", "SigCgt:"))]
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
