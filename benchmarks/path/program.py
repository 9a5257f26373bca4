"""A program of this folder as a process: its port, CPU time and memory."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from machine import piped

HERE = Path(__file__).parent
TREE = HERE.parents[1]
KIB = 1024


def found_in(tree: Path = TREE) -> str:
    """The PYTHONPATH for the programs of a checkout."""
    return f"{tree / 'benchmarks'}{os.pathsep}{tree / 'tests'}"


@dataclass
class Program:
    """A program of this folder as a process, which prints its port and reads commands line by line."""

    process: asyncio.subprocess.Process
    port: int

    @classmethod
    @asynccontextmanager
    async def started(cls, name: str, *arguments: str, tree: Path = TREE) -> AsyncIterator[Program]:
        """Start the program of a checkout, with that checkout's own environment."""
        pipe, environment = asyncio.subprocess.PIPE, os.environ | {"PYTHONPATH": found_in(tree)}
        process = await asyncio.create_subprocess_exec(
            sys.executable if tree == TREE else tree / ".venv" / "bin" / "python",
            tree / "benchmarks" / "path" / name,
            *arguments,
            stdin=pipe,
            stdout=pipe,
            env=environment,
        )
        try:
            yield cls(process, int(await piped(process.stdout).readline()))
        finally:
            process.kill()
            await process.wait()

    async def tell(self, line: str) -> None:
        piped(self.process.stdin).write(line.encode() + b"\n")
        await piped(self.process.stdout).readline()

    def processor_time(self) -> float:
        """CPU seconds since its start."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, what: str) -> float:
        """A value of /proc/PID/status in MiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) / KIB
