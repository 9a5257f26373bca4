"""How fast the processors are that a program runs on while it does: a fixed loop beside it, again and again.

On a machine that is shared, a processor can take twice as long for the same from one moment to the next, and nothing in
`/proc` tells. So the loop is run for an instant on whatever processor has one of the program's main threads just then.
What counts is the loop's own time on it: that it had to wait for its turn doesn't matter.
"""

from __future__ import annotations

import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

EVERY = 0.05  # seconds
SEARCH_EVERY = 10  # looks, for processes that are new
TURNS = 15_000  # of the loop: some 0.2 ms


class Pace:
    """Of a process and all that it starts, from a process of its own."""

    def __init__(self, session: int) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, "-S", __file__, str(session)], stdin=pipe, stdout=pipe)

    def end(self) -> float:
        """The median, in µs; 0 if nothing was seen to run."""
        told, _ = self._process.communicate()
        return float(told)

    def kill(self) -> None:
        """If it goes on."""
        self._process.kill()
        self._process.wait()


def main() -> None:
    session, anywhere = int(sys.argv[1]), os.sched_getaffinity(0)
    found: list[float] = []
    processes: list[int] = []
    looks = 0
    while not select.select([sys.stdin], [], [], EVERY)[0]:
        if looks % SEARCH_EVERY == 0:
            processes = list(_in_session(session))
        looks += 1
        for processor in {_runs_on(process) for process in processes} - {None}:
            found.append(_loop_on(processor))
        os.sched_setaffinity(0, anywhere)
    print(statistics.median(found) * 1e6 if found else 0.0)


def _loop_on(processor: int | None) -> float:
    assert processor is not None
    os.sched_setaffinity(0, {processor})
    began = time.thread_time()
    for _ in range(TURNS):
        pass
    return time.thread_time() - began


def _in_session(session: int) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (stat := _stat(int(folder.name))) and int(stat[3]) == session:
            yield int(folder.name)


def _runs_on(process: int) -> int | None:
    """The processor of its main thread, if that runs."""
    stat = _stat(process)
    return int(stat[36]) if stat and stat[0] == "R" else None


def _stat(process: int) -> list[str] | None:
    """From the state on: what comes before may hold anything."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


if __name__ == "__main__":
    main()
