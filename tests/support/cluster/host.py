"""What a cluster could change or leave behind on its machine: recorded before, during and after."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slipway_devcluster import cgroups
from slipway_devcluster.cluster import Cluster, cgroup_name
from slipway_devcluster.identity import Identity, identify

from support.programs.processes import tree

NETWORK_COMMANDS = (
    "ip -oneline link",
    "ip -oneline address",
    "ip route show table all",
    "ip -6 route show table all",
    "ip rule",
    "iptables-save",
    "ip6tables-save",
    "ip netns list",
)
PLACES_OF_SUCH_PROGRAMS = (
    "/etc",
    "/opt/cni",
    "/run",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/lib/kube-proxy",
    "/var/log/containers",
    "/var/log/pods",
)
OF_THE_MOMENT = re.compile(r"^#.*\n?|\[\d+:\d+\]|(valid_lft|preferred_lft|expires) \S+", re.MULTILINE)


def network() -> dict[str, str]:
    """Returns interfaces, addresses, routes and iptables rules, without what changes on its own."""
    commands = [command.split() for command in NETWORK_COMMANDS]
    return {" ".join(command): _output(command) for command in commands if shutil.which(command[0])}


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return OF_THE_MOMENT.sub("", done.stdout)


@dataclass(frozen=True)
class Host:
    """A snapshot of the machine, for comparison with another one."""

    network: dict[str, str]
    mounts: frozenset[str]
    files: frozenset[str]
    control_groups: frozenset[str]


def snapshot(cluster: Cluster) -> Host:
    """Takes a snapshot; of all clusters only this one counts, since others may start and end meanwhile."""
    files = (file for place in PLACES_OF_SUCH_PROGRAMS for file in Path(place).rglob("*"))
    return Host(
        network=network(),
        mounts=frozenset(_mounts()),
        files=frozenset(map(str, (*files, *_state(cluster)))),
        control_groups=frozenset(map(str, _control_groups(cluster))),
    )


def _mounts() -> list[str]:
    return [line.split(" ", 3)[3] for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def _state(cluster: Cluster) -> list[Path]:
    return [path for path in (cluster.layout.state,) if path.exists()]


def _control_groups(cluster: Cluster) -> list[Path]:
    hierarchies = cgroups.hierarchies(Path("/proc/self/mountinfo").read_text())
    return [group for hierarchy in hierarchies for group in hierarchy.glob(f"**/{cgroup_name(cluster.layout)}")]


@dataclass(frozen=True)
class Traces:
    """What identifies a cluster's processes after it should be gone."""

    folder: str
    processes: frozenset[Identity]
    namespaces: frozenset[str]
    taken_at: float
    """In clock ticks since boot, as the kernel notes when a process starts."""


def traces(cluster: Cluster) -> Traces:
    """Records a running cluster's processes, those of its pods included, and their namespaces."""
    record = cluster.record
    nodes = [node for node in (record.namespaces, *record.further.values()) if node]
    pids = [pid for node in nodes for pid in tree(node.holder.pid)]
    processes = {known for pid in pids if (known := identify(pid))}
    own = _namespaces("self")
    namespaces = {namespace for pid in pids for namespace in _namespaces(pid) if namespace not in own}
    return Traces(f"{cluster.layout.state}/", frozenset(processes), frozenset(namespaces), ticks_now())


def remains(of: Traces) -> list[str]:
    """Describes the processes that still exist, are in one of its namespaces, or use its files; there should be
    none."""
    survivors = [str(process) for process in of.processes if process.alive()]
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return survivors + [_describe(pid) for pid in pids if _is_inside(pid, of) or _uses(pid, of.folder)]


def _is_inside(pid: int, of: Traces) -> bool:
    """The kernel reuses the numbers of namespaces: a process that started later is in another namespace of that
    number."""
    known = identify(pid)
    return known is not None and known.start_ticks <= of.taken_at and bool(_namespaces(pid) & of.namespaces)


def ticks_now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")


def until(condition: Callable[[], bool], *, timeout: float) -> None:
    """Polls, for what can't be watched."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not hold within {timeout:.0f} s"
        time.sleep(0.01)


def _namespaces(pid: int | str) -> set[str]:
    return {target for link in ("net", "mnt", "pid", "ipc", "uts") if (target := _target(f"/proc/{pid}/ns/{link}"))}


def _uses(pid: int, folder: str) -> bool:
    process = Path(f"/proc/{pid}")
    with suppress(OSError):
        if folder.encode() in (process / "cmdline").read_bytes():
            return True
        links = [process / "cwd", process / "root", process / "exe", *(process / "fd").iterdir()]
        return any(_target(link).startswith(folder) for link in links)
    return False


def _target(link: str | Path) -> str:
    with suppress(OSError):
        return str(Path(link).readlink())
    return ""


def _describe(pid: int) -> str:
    with suppress(OSError):
        name, _, fields = Path(f"/proc/{pid}/stat").read_text().partition(")")
        state, parent = fields.split()[:2]
        return f"{name}) in state {state}, child of {parent}"
    return f"{pid}, which has ended meanwhile"
