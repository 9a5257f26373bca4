"""Programs in a real pseudo-terminal of a given width, and in a pipe, as users run them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PATIENCE = 60.0
WITH_DEFAULT_SIGNALS = ("env", "--default-signal")
"""Before a command: a test may run under nohup or in the background, whose programs inherit ignored signals."""
CLEAN = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PATH": os.environ["PATH"], "HOME": "/nonexistent"}


@dataclass(frozen=True)
class Ran:
    """A program that has ended: its exit code and what it wrote; in a terminal, all of it is in `out`."""

    code: int
    out: str
    err: str = ""

    @property
    def text(self) -> str:
        """Without colours."""
        return ESCAPES.sub("", self.out)

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def in_pipe(arguments: Sequence[str], *, given: str = "", env: Mapping[str, str] | None = None) -> Ran:
    found = subprocess.run(
        _command(arguments),
        input=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**CLEAN, **(env or {})},
        check=False,
    )
    return Ran(found.returncode, found.stdout, found.stderr)


def in_terminal(
    arguments: Sequence[str], *, width: int, keys: str = "", later: float = 0, env: Mapping[str, str] | None = None
) -> Ran:
    """`keys`: what the user types, all at once; `later`: this many seconds after the first output."""
    child, terminal = pty.fork()
    if child == 0:
        command = [*WITH_DEFAULT_SIGNALS, *_command(arguments)]
        os.execvpe(command[0], command, {**CLEAN, **(env or {})})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    try:
        if later:
            select.select([terminal], [], [], PATIENCE)
            time.sleep(later)
        os.write(terminal, keys.encode())
        written = _all_of(terminal)
    finally:
        os.close(terminal)
        code = _end_of(child)
    return Ran(code, written.decode(errors="replace").replace("\r\n", "\n"))


def _command(arguments: Sequence[str]) -> list[str]:
    return [str(BIN / arguments[0]), *arguments[1:]]


def _all_of(terminal: int) -> bytes:
    written, until = b"", time.monotonic() + PATIENCE
    while time.monotonic() < until:
        readable, _, _ = select.select([terminal], [], [], 1.0)
        if readable:
            try:
                more = os.read(terminal, 65536)
            except OSError:  # Linux reports the end of a pseudo-terminal so
                break
            if not more:
                break
            written += more
    return written


def _end_of(child: int) -> int:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL
