"""Identifies processes by pid, start time and boot, so that no other process with a reused pid is ever killed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Identity:
    """One process; no other process ever has the same three values."""

    pid: int
    start_ticks: int
    boot_id: str

    def alive(self, *, proc: Path = PROC) -> bool:
        """False once it has ended, even while it is a zombie that was not reaped yet."""
        return self.boot_id == boot_id() and _start_of_living(proc, self.pid) == self.start_ticks


def identify(pid: int, *, proc: Path = PROC) -> Identity | None:
    """The identity of a running process. `proc` may be the /proc of another PID namespace, in which `pid` is then."""
    start = _start_of_living(proc, pid)
    return None if start is None else Identity(pid=pid, start_ticks=start, boot_id=boot_id())


def boot_id() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def children(pid: int) -> list[int]:
    return [int(child) for child in (PROC / f"{pid}/task/{pid}/children").read_text().split()]


def _start_of_living(proc: Path, pid: int) -> int | None:
    try:
        stat = (proc / f"{pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()  # the name, in parentheses, may contain spaces
        # The first thread may be a zombie while another thread is still ending the process and its PID namespace.
        ended = fields[0] in "ZX" and len(list((proc / f"{pid}/task").iterdir())) <= 1
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if ended else int(fields[19])
