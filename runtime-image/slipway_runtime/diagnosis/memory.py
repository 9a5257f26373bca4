"""How often the kernel has killed a process of this container because its memory was at the limit."""

from __future__ import annotations

from pathlib import Path

COUNTERS = ("memory.events", "memory/memory.oom_control")  # by cgroup v2 and v1


def kills_for_memory(cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Compared before and after an end by SIGKILL, it tells who did it; None where there is no such counter."""
    for name in COUNTERS:
        try:
            lines = (cgroups / name).read_text().splitlines()
        except OSError:
            continue
        counts = dict(line.split(maxsplit=1) for line in lines if " " in line)
        if counts.get("oom_kill", "").isdecimal():
            return int(counts["oom_kill"])
    return None
