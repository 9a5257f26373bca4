"""Reads what a cluster shows of a model with kubectl into a Snapshot, as the operator does by its watches."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime

from slipway.observing.causes import main_cause
from slipway.observing.snapshot import Snapshot

from support.builders.recorded_snapshots import world_of
from support.cluster.kube import Kube, WaitedInVainError

Wanted = Callable[[Snapshot], bool]
KINDS = {"deployments": "deployments", "replica_sets": "replicasets", "pods": "pods"}
WATCHED = ("deployments", "replicasets", "pods", "events")


async def read_world(kube: Kube) -> Snapshot:
    """Returns the present state of the namespace."""
    everything = await kube.select(",".join(["inferenceservices,events,nodes", *KINDS.values()]))
    return world_of(everything, now=datetime.now(UTC))


async def changing_worlds(kube: Kube) -> AsyncGenerator[Snapshot]:
    """Yields the present state of the namespace, and again after every change."""
    changed = asyncio.Event()

    async def follow(kind: str) -> None:
        async with contextlib.aclosing(kube.watch(kind)) as events:
            async for _ in events:
                changed.set()

    followers = [asyncio.create_task(follow(kind)) for kind in WATCHED]
    try:
        while True:
            changed.clear()
            yield await read_world(kube)
            with contextlib.suppress(TimeoutError):  # some causes appear only after a time
                await asyncio.wait_for(changed.wait(), 5)
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)


async def until(kube: Kube, wanted: Wanted, *, timeout: float = 60) -> Snapshot:
    """Waits for the first snapshot that meets the predicate; the error says which cause was read from the last one."""
    last: Snapshot | None = None
    try:
        async with asyncio.timeout(timeout), contextlib.aclosing(changing_worlds(kube)) as seen:
            async for snapshot in seen:
                last = snapshot
                if wanted(snapshot):
                    return snapshot
    except TimeoutError:
        pass
    raise WaitedInVainError(f"after {timeout:.0f} s, the observed cause is {main_cause(last) if last else 'none'}")
