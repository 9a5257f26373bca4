"""How often the kernel has killed a process of this container because the memory limit was reached."""

from __future__ import annotations

from pathlib import Path

COUNTERS = ("memory.events", "memory/memory.oom_control")  # of cgroup v2 and v1


def kills_for_memory(cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The count since the container started; None if there is no such counter.

    Read before the engine starts and after it ended by SIGKILL, it shows whether the kernel killed it.
    """
    for name in COUNTERS:
        try:
            lines = (cgroups / name).read_text().splitlines()
        except OSError:
            continue
        counts = dict(line.split(maxsplit=1) for line in lines if " " in line)
        if counts.get("oom_kill", "").isdecimal():
            return int(counts["oom_kill"])
    return None
