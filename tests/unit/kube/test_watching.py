"""What kopf does wrong, watching survives; what it does right is tested with a real API server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import kopf
import pytest
from slipway.kube import watching
from slipway.kube.audit import Rhythm
from slipway.kube.kinds import CONFIG_MAP, Kind, Object
from slipway.kube.metrics import Metrics
from slipway.kube.watching import Watch, Watching

ONE: Object = {"metadata": {"name": "a", "namespace": "b", "uid": "c", "resourceVersion": "1"}}


class Lister:
    """Has an object that no watch tells."""

    async def list_metadata(self, *_: Any, **__: Any) -> list[Object]:
        return [ONE]

    async def serves(self, kind: Kind) -> bool:
        return True


async def no_login() -> kopf.ConnectionInfo:
    raise AssertionError("nobody is asked")


class DeafKopf:
    """Is told to stop, and goes on; as kopf does when the cancellation of a watch finds it just being closed."""

    def __init__(self) -> None:
        self.runs, self.ends = 0, 0

    async def run(self, stop_flag: Any, **_: Any) -> None:
        self.runs += 1
        try:
            await asyncio.sleep(60)
        finally:
            self.ends += 1


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> DeafKopf:
    deaf = DeafKopf()
    monkeypatch.setattr(kopf, "operator", deaf.run)
    monkeypatch.setattr(watching, "STOP_WITHIN", 0.05)
    return deaf


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - another thread tells nobody
            await asyncio.sleep(0.01)


async def test_a_kopf_that_does_not_end_is_left_behind(deaf: DeafKopf, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watched = Watching(
        [Watch(CONFIG_MAP, lambda _: ["key"])],
        client=Lister(),
        login=no_login,
        add=lambda _: None,
        metrics=Metrics(),
        rhythm=Rhythm(every=0.05, unsynced=0.01, missing=0.05, behind=0.05, begun=0.05, listed_anew=0.01),
    )
    task = asyncio.create_task(watched.run())
    await until(lambda: deaf.runs >= 2)
    assert "kopf does not end by itself, so it is cancelled" in caplog.text
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: deaf.ends == deaf.runs)


async def test_kopf_remembers_nothing_of_what_it_has_seen() -> None:
    memories, seen = watching.NoMemories(), cast(kopf.RawBody, ONE)
    for _ in range(3):
        await memories.recall(seen, noticed_by_listing=True)
    assert [*memories.iter_all_memories()] == []
    await memories.forget(seen)
