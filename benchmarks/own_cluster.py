"""A devcluster for one run of a benchmark: newly made, and removed however the run ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from machine import tidy_up_when_told_to_end
from slipway_devcluster import lifecycle
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps
from slipway_devcluster.record import Options

NO_OPTIONS = Options()


@contextmanager
def own_cluster(name: str, cache: Cache, steps: Steps, options: Options = NO_OPTIONS) -> Iterator[Cluster]:
    """A new cluster of that name; an existing one is removed first."""
    tidy_up_when_told_to_end()
    with suppress(Refusal):  # there is none
        lifecycle.down(name, cache=cache, steps=steps)
    try:
        yield lifecycle.up(name, cache=cache, steps=steps, options=options)
    finally:
        lifecycle.down(name, cache=cache, steps=steps)
