"""Open watches that deliver no events are detected and restarted; where that doesn't help, /livez fails."""

from __future__ import annotations

import asyncio

import pytest
from support.cluster import Kube
from support.faults import convergence
from support.faults.api_faults import Deafens, Refuses, first_lists
from support.faults.replicas import Replica
from support.load.fleet import Fleet

INACTIVE_FOR = 90  # seconds: over a minute without a bookmark
DETECTED_WITHIN = 200  # the audit runs every two minutes, and checks twice


@pytest.mark.timeout(300, func_only=True)
@pytest.mark.parametrize(("bookmarks", "within"), [(False, INACTIVE_FOR), (True, DETECTED_WITHIN)])
async def test_changes_arrive_though_open_watches_went_silent(
    kube: Kube, replica: Replica, fleet: Fleet, bookmarks: bool, within: float
) -> None:
    """Silences open watches, as on a half-open connection. Watches that start later work."""
    silenced = Deafens(bookmarks=bookmarks)
    with replica.path.broken_by(silenced):
        await fleet.change_everything()
        await replica.path.until(lambda: silenced.count >= len(fleet.names))
    await convergence.until_converged(kube, within=within)
    await convergence.stays_still(kube, replica.path, seconds=3)


@pytest.mark.timeout(500, func_only=True)
async def test_livez_fails_while_changes_are_missed_and_watches_cannot_restart(
    kube: Kube, replica: Replica, fleet: Fleet
) -> None:
    with replica.path.broken_by(Deafens(), Refuses(code=503, on=first_lists)):
        await fleet.change_everything()
        await asyncio.to_thread(replica.operator.until, lambda: not is_live(replica), within=300)
        assert "watches: watches have missed changes: " in (await asyncio.to_thread(replica.operator.get, "/livez"))[1]
    await convergence.until_converged(kube, within=60)
    await asyncio.to_thread(replica.operator.until, lambda: is_live(replica), within=150)


def is_live(replica: Replica) -> bool:
    return replica.operator.get("/livez")[0] == 200
