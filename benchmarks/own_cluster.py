"""A devcluster that is there for one run of a benchmark: made anew, and removed however the run ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from slipway_devcluster import lifecycle
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

TERMINATED = 128 + signal.SIGTERM


@contextmanager
def own_cluster(name: str, cache: Cache, steps: Steps, *, gpu_nodes: str = "") -> Iterator[Cluster]:
    """Whatever has that name goes first."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # and the cluster is removed all the same
    with suppress(Refusal):  # there is none
        lifecycle.down(name, cache=cache, steps=steps)
    try:
        yield lifecycle.up(name, cache=cache, steps=steps, gpu_nodes=gpu_nodes)
    finally:
        lifecycle.down(name, cache=cache, steps=steps)
