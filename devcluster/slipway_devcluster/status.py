"""The status of a cluster: nodes, pods, the time of its start, and memory by program."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_devcluster.cluster import Cluster
from slipway_devcluster.progress import Durations, in_words

MB = 1024 * 1024


@dataclass(frozen=True)
class Status:
    """The observed status of one cluster."""

    name: str
    alive: bool
    address: str
    phases: dict[str, float]
    down_seconds: float | None
    memory: dict[str, int]
    """Bytes by program; memory that processes share is counted once, in equal parts (PSS)."""
    stopped: list[str]
    nodes: dict[str, bool]
    pods: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        return {**self.__dict__, "memory_total": sum(self.memory.values())}


def look(cluster: Cluster, durations: Durations) -> Status:
    record, alive = cluster.record, cluster.alive()
    return Status(
        name=cluster.name,
        alive=alive,
        address=f"https://127.0.0.1:{record.port}",
        phases=record.phases,
        down_seconds=durations.last(f"ending cluster {cluster.name}"),
        memory=memory_by_program(node.proc for node in cluster.running_nodes()) if alive else {},
        stopped=[name for name in record.components if alive and not cluster.is_running(name)],
        nodes=_nodes(cluster) if alive else {},
        pods=_pods(cluster) if alive else {},
    )


def lines(status: Status) -> Iterable[str]:
    """The status as lines for people."""
    if not status.alive:
        yield f"cluster {status.name}: its node has ended; `devcluster down --name {status.name}` removes the rest"
        return
    ready = sum(status.nodes.values())
    yield f"cluster {status.name}: {ready} of {len(status.nodes)} nodes Ready; API server at {status.address}"
    for component in status.stopped:
        yield f"  {component} is not running; `devcluster logs {component} --name {status.name}` shows its log"
    yield "  pods: " + (", ".join(f"{count} {phase}" for phase, count in sorted(status.pods.items())) or "none")
    parts = ", ".join(f"{phase} at {seconds:.1f} s" for phase, seconds in status.phases.items())
    yield f"  start, with everything built: {parts}"
    if status.down_seconds is not None:
        yield f"  the last end took {in_words(status.down_seconds)}"
    total = sum(status.memory.values())
    yield f"  memory: {total / MB:.0f} MB"
    for program, size in sorted(status.memory.items(), key=lambda item: -item[1]):
        yield f"    {size / MB:6.0f} MB  {program}"


def memory_by_program(procs: Iterable[Path]) -> dict[str, int]:
    """Read from each node's own /proc. Processes that end meanwhile are left out."""
    sizes: Counter[str] = Counter()
    for folder in (folder for proc in procs for folder in proc.iterdir()):
        if folder.name.isdigit():
            try:
                sizes[_program(folder)] += _proportional_size((folder / "smaps_rollup").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue
    return {program: size for program, size in sizes.items() if size}


def _program(process: Path) -> str:
    words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    name = Path(words[0]).name
    return " ".join([name, *words[1:2]]) if name == "node" else name


def _proportional_size(smaps: str) -> int:
    found = (line for line in smaps.splitlines() if line.startswith("Pss:"))
    return sum(int(line.split()[1]) * 1024 for line in found)


def _nodes(cluster: Cluster) -> dict[str, bool]:
    return {
        node["metadata"]["name"]: any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in node["status"].get("conditions", [])
        )
        for node in _items(cluster, "nodes")
    }


def _pods(cluster: Cluster) -> dict[str, int]:
    return dict(Counter(pod["status"].get("phase", "Pending") for pod in _items(cluster, "pods")))


def _items(cluster: Cluster, kind: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(cluster.run_kubectl(["get", kind, "-A", "-o", "json"]))["items"]
    return items
