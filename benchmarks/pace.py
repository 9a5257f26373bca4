"""Measures the speed of the processors on which a program runs, by repeating a fixed loop next to it.

On a shared machine, a processor can take twice as long for the same work from one moment to the next, and `/proc` does
not show that. So the loop runs briefly on whichever processor has one of the program's main threads at that moment.
Only the loop's own CPU time counts, not the time that it waits for the processor.
"""

from __future__ import annotations

import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from machine import family
from slipway_runtime.supervisor.processes import stat_fields

EVERY = 0.05  # seconds
SEARCH_EVERY = 10  # observations between two searches for new processes
TURNS = 15_000  # of the loop: some 0.2 ms


class Pace:
    """Measures the pace for a process and its descendants, from a separate process."""

    def __init__(self, pid: int) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, __file__, str(pid)], stdin=pipe, stdout=pipe)

    def end(self) -> float:
        """Stop, and return the median in µs; 0 if no thread was observed running."""
        told, _ = self._process.communicate()
        return float(told)

    def kill(self) -> None:
        """Stop without a result."""
        self._process.kill()
        self._process.wait()


def main() -> None:
    pid, anywhere = int(sys.argv[1]), os.sched_getaffinity(0)
    found: list[float] = []
    members: set[int] = set()
    looks = 0
    while not select.select([sys.stdin], [], [], EVERY)[0]:
        if looks % SEARCH_EVERY == 0:
            members = family(pid)
        looks += 1
        found += map(_loop_on, set(_processors_of(members)))
        os.sched_setaffinity(0, anywhere)
    print(statistics.median(found) * 1e6 if found else 0.0)


def _loop_on(processor: int) -> float:
    os.sched_setaffinity(0, {processor})
    began = time.thread_time()
    for _ in range(TURNS):
        pass
    return time.thread_time() - began


def _processors_of(pids: Iterable[int]) -> Iterator[int]:
    """The processors on which main threads are running."""
    for pid in pids:
        with suppress(OSError):  # the process has ended
            fields = stat_fields(Path(f"/proc/{pid}/stat").read_text())
            if fields[0] == "R":
                yield int(fields[36])


if __name__ == "__main__":
    main()
