"""The state of a cluster between two commands: one JSON file in its state folder, replaced atomically."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slipway_devcluster.addresses import FIRST
from slipway_devcluster.components import Component
from slipway_devcluster.identity import Identity
from slipway_devcluster.namespaces import Namespaces


@dataclass
class Running:
    """A component, and the process that was last started for it (its pid is that in the node's PID namespace)."""

    component: Component
    process: Identity
    node: str = FIRST.name


@dataclass(frozen=True)
class Options:
    """What a cluster has that others don't have."""

    nodes: int = 1
    gpu_nodes: str = ""
    node_gpus: int = 0
    image_volumes: bool = False
    volumes: bool = False


@dataclass
class Record:
    """What is recorded about a cluster; it exists while the cluster's state folder does."""

    name: str
    port: int
    cgroup: str
    nodes: int = 1
    gpu_nodes: str = ""
    node_gpus: int = 0
    image_volumes: bool = False
    volumes: bool = False
    programs: dict[str, str] = field(default_factory=dict)
    namespaces: Namespaces | None = None
    """Of the first node."""
    further: dict[str, Namespaces] = field(default_factory=dict)
    """Of the other nodes, by their names."""
    components: dict[str, Running] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds from the start of `up` to the end of each of its phases."""
    ready: bool = False

    def write(self, state: Path) -> None:
        partial = state / f".cluster.json.{os.getpid()}"
        partial.write_text(json.dumps(asdict(self), indent=2))
        partial.replace(state / "cluster.json")


def read(state: Path) -> Record | None:
    """None if there is no cluster, or its start failed before it was recorded."""
    try:
        data: dict[str, Any] = json.loads((state / "cluster.json").read_text())
        components = {name: _running(each) for name, each in data.pop("components").items()}
        further = {name: _made(each) for name, each in data.pop("further", {}).items()}
        first = _made(data["namespaces"]) if data["namespaces"] else None
        return Record(**{**data, "components": components, "namespaces": first, "further": further})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _running(data: dict[str, Any]) -> Running:
    return Running(Component(**data["component"]), Identity(**data["process"]), data.get("node", FIRST.name))


def _made(data: dict[str, Any]) -> Namespaces:
    return Namespaces(init=Identity(**data["init"]), holder=Identity(**data["holder"]))
