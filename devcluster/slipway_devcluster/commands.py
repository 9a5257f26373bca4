"""Commands that run to their end, possibly in several threads, and that can all be ended together."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

from slipway_devcluster.errors import StepFailed

# The signals by which a command is ended, and how many seconds it has after each. Go cleans up after an interrupt only.
WAYS_TO_END = ((signal.SIGINT, 2.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, None))

ENDS_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")
"""Put before a command: when this process is killed, the kernel ends the command, which would go on otherwise. SIGINT
would do nothing in a background job, where shells ignore it."""


class Ended(NamedTuple):
    """How a command ended, and the CPU time that it and its children used."""

    code: int
    cpu_seconds: float


class Commands:
    """The commands that are running now, in whichever thread, so that all of them can be ended."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._ending = False

    def run(
        self, command: Sequence[str], *, output: BinaryIO, given: bytes | None, env: Mapping[str, str], cwd: Path | None
    ) -> Ended:
        """Run a command to its end. An interrupt of this thread ends the command and all of its children."""
        process = self._start(command, output=output, piped=given is not None, env=env, cwd=cwd)
        try:
            if process.stdin and given is not None:
                _feed(process.stdin, given)
            cpu_seconds = _wait(process)
        except BaseException:
            end_group(process)
            raise
        finally:
            with self._lock:
                self._running.discard(process)
        return Ended(process.wait(), cpu_seconds)

    def _start(
        self, command: Sequence[str], *, output: BinaryIO, piped: bool, env: Mapping[str, str], cwd: Path | None
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._ending:
                raise StepFailed(f"`{shlex.join(command)}` was not started, because another step failed.")
            process = subprocess.Popen(
                _ending_with_us(command, env),
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                process_group=0,  # so that Ctrl-C reaches only us, and we end the command with all of its children
            )
            self._running.add(process)
        return process

    @contextlib.contextmanager
    def ended_on_failure(self) -> Iterator[None]:
        """A context in which any failure ends every running command, and prevents new ones from being started."""
        try:
            yield
        except BaseException:
            with self._lock:
                self._ending = True
                running = list(self._running)
            for process in running:
                end_group(process)
            raise

    def allow_again(self) -> None:
        self._ending = False


def _ending_with_us(command: Sequence[str], env: Mapping[str, str]) -> Sequence[str]:
    """The command behind `setpriv`, which only Linux has; a missing program raises the same error with and without."""
    if not shutil.which(command[0], path=env.get("PATH")):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
    return [*ENDS_WITH_US, *command] if shutil.which(ENDS_WITH_US[0]) else command


def _feed(stdin: IO[bytes], given: bytes) -> None:
    """Write a command's standard input. A command that ends without reading it is judged by its exit status alone."""
    with contextlib.suppress(BrokenPipeError), stdin:
        stdin.write(given)


def _wait(process: subprocess.Popen[bytes]) -> float:
    """Wait for a command, and return the CPU seconds that it and its children used.

    `Popen.wait` does not report resource usage, so the process is reaped here, and its return code is set as `Popen`
    would set it. Another thread may have reaped it first, to end it after a failure; then its usage is lost.
    """
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except ChildProcessError:
        return 0.0
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a command and its children: with an interrupt first, and by force if that does not end them in time."""
    if process.poll() is not None:
        return
    try:
        for way, patience in WAYS_TO_END:
            os.killpg(process.pid, way)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
                break
    except ProcessLookupError:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # children that outlived the command
