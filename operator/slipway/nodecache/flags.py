"""The flags of `slipway-node-cache`, and the settings that it makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from slipway.api.units import amount
from slipway.nodecache.eviction import Limits
from slipway.process.flags import duration, flag, integer, object_name_with_dots


@dataclass(frozen=True, kw_only=True)
class NodeCacheSettings:
    """One field for each flag; they hold for the life of the process."""

    kubeconfig: Path | None
    node: str
    folder: Path
    kubelet_folder: Path
    total_size: int | None
    namespace_size: int | None
    min_free_percent: int
    unused_for: float
    sweep_every: float
    management_port: int
    log_level: str
    log_format: str

    @property
    def limits(self) -> Limits:
        return Limits(self.total_size, self.namespace_size, self.min_free_percent / 100, self.unused_for)


def size(text: str) -> int | None:
    """In bytes; None for an empty one."""
    if not text:
        return None
    try:
        found = int(amount(text))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if found < 1:
        raise click.BadParameter(f"{text!r} is not a size: write it as 200Gi, or leave it out for no limit")
    return found


def folder_of_node(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute() or ".." in path.parts or path == Path("/"):
        raise click.BadParameter(f"{text!r} is not a folder of the node: write its absolute path")
    return path


node = flag(
    "--node",
    type=object_name_with_dots,
    required=True,
    metavar="NAME",
    help="name of the node on which it runs",
)
folder = flag(
    "--folder",
    type=folder_of_node,
    default="/var/lib/slipway/models",
    metavar="FOLDER",
    help="folder of the node in which models are kept; a disk of its own is best",
)
kubelet_folder = flag(
    "--kubelet-folder",
    type=folder_of_node,
    default="/var/lib/kubelet",
    metavar="FOLDER",
    help="folder of the kubelet on its node",
)
total_size = flag(
    "--total-size",
    type=size,
    default="",
    metavar="SIZE",
    help="how much models may have on a node, all together; empty: as much as the disk has",
)
namespace_size = flag(
    "--namespace-size",
    type=size,
    default="",
    metavar="SIZE",
    help="how much models of one namespace may have on a node; empty: no limit of its own",
)
min_free_percent = flag(
    "--min-free-percent",
    type=integer(at_least=0, at_most=90),
    default="15",
    metavar="PERCENT",
    help="how much of the disk stays free: below it, models that no pod uses are removed; below half of it, pods "
    "whose model is not there yet wait",
)
unused_for = flag(
    "--unused-for",
    type=duration(at_least=60),
    default="720h",
    metavar="TIME",
    help="how long a model that no pod uses is kept",
)
sweep_every = flag(
    "--sweep-every",
    type=duration(at_least=1),
    default="60s",
    metavar="TIME",
    help="how often everything is counted, and what must go is removed",
)
