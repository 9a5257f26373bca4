"""The engine as a process: started in a session of its own, and ended together with everything that it started.

Its orphans become our children, because we are process 1 or by a Linux flag, so that none stays a zombie or survives.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn

from slipway_runtime.supervisor.processes import CpuDemand, children, cpu_demand

PIPE_SIZE = 1 << 20  # bytes of output that the engine can print while the supervisor doesn't read
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


class EngineProcess:
    """The engine from its start on. Threads may be started only after it, because it forks."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.output, theirs = os.pipe()
        with contextlib.suppress(OSError):  # a smaller pipe works too
            fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        self.pid = os.fork()
        if self.pid == 0:
            _become(command, environment, theirs)
        os.close(theirs)
        self.exit_code: int | None = None
        """As in subprocess: negative for a signal."""

    @property
    def cpu_demand(self) -> CpuDemand:
        return cpu_demand(self.pid)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._signal(signal.SIGKILL)  # it may not be the leader of its group yet

    def reap(self) -> bool:
        """Reaps every child that has ended; returns whether the engine's first process has."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self.pid:
                    self.exit_code = os.waitstatus_to_exitcode(ended[1])
        return self.exit_code is not None

    def clear(self, patience: float = 2.0) -> bool:
        """Kills what is left of the engine in whatever session; returns False if a process survives even that."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        until = time.monotonic() + patience
        while left := self._left():
            if time.monotonic() > until:
                return False
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)
        return True

    def _left(self) -> list[int]:
        self.reap()
        return children(os.getpid())

    def _signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _become(command: Sequence[str], environment: Mapping[str, str], output: int) -> NoReturn:
    """Turns the forked child into the engine. Ctrl-C in a terminal doesn't reach its session: stopping is the parent's
    job."""
    try:
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.execvpe(command[0], list(command), dict(environment))
    except OSError as error:
        os.write(2, f"{command[0]} cannot be started: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
