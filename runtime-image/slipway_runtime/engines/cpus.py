"""How many threads of an engine can run at the same time."""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_cpus(allowed: int, quota: float | None) -> int:
    """Threads that can all run at the same time: with more, each step would wait for a throttled one."""
    return max(1, min(allowed, int(quota) if quota else allowed))


def cpu_quota(cgroups: Path = CGROUPS) -> float | None:
    """The CPUs that the container may use, from cgroup v2 or v1; None if there is no limit."""
    for names in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        files = [cgroups / name for name in names]
        if all(file.is_file() for file in files):
            quota, period = " ".join(file.read_text() for file in files).split()
            return None if quota in ("max", "-1") else int(quota) / int(period)
    return None


def threads() -> int:
    return usable_cpus(len(os.sched_getaffinity(0)), cpu_quota())
