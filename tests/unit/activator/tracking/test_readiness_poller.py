"""Pods that start report themselves when they are ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from slipway.activator.tracking.poller import PollTarget
from slipway.activator.tracking.readiness_poller import ReadinessPoller
from slipway.api.model_key import ModelKey
from support.ports import free_port

LLAMA = ModelKey("chat", "llama")


@asynccontextmanager
async def pod(port: int, statuses: list[int], ready: asyncio.Event | None = None) -> AsyncIterator[asyncio.Queue[str]]:
    """Sends these responses one after the other, the last one repeatedly, not before `ready`; records the requests."""
    requests: asyncio.Queue[str] = asyncio.Queue()

    async def respond(request: web.Request) -> web.Response:
        requests.put_nowait(request.path_qs)
        if ready:
            await ready.wait()
        return web.Response(status=statuses[0] if len(statuses) == 1 else statuses.pop(0))

    app = web.Application()
    app.router.add_get("/readyz", respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield requests
    finally:
        await runner.cleanup()


class Reported:
    def __init__(self) -> None:
        self.all: list[PollTarget] = []
        self.came = asyncio.Event()

    def record(self, target: PollTarget) -> None:
        self.all.append(target)
        self.came.set()


@pytest.fixture
def reported() -> Reported:
    return Reported()


@pytest.fixture
async def poller(reported: Reported) -> AsyncIterator[ReadinessPoller]:
    poller = ReadinessPoller(reported.record)
    yield poller
    await poller.close()


@pytest.fixture
def target() -> PollTarget:
    return PollTarget(LLAMA, "uid", "127.0.0.1", free_port(), "container")


async def test_a_request_to_a_pod_stays_open_until_that_is_ready(
    poller: ReadinessPoller, reported: Reported, target: PollTarget
) -> None:
    ready = asyncio.Event()
    async with pod(target.port, [200], ready) as requests:
        poller.follow(LLAMA, [target])
        assert await requests.get() == "/readyz?wait=10"
        assert reported.all == []
        ready.set()
        await reported.came.wait()
    assert requests.empty()
    assert reported.all == [target]


async def test_it_retries_until_a_pod_listens(poller: ReadinessPoller, reported: Reported, target: PollTarget) -> None:
    poller.follow(LLAMA, [target])
    await asyncio.sleep(0.1)
    async with pod(target.port, [200]):
        await reported.came.wait()
    assert reported.all == [target]


async def test_a_pod_that_is_not_ready_is_polled_again(
    poller: ReadinessPoller, reported: Reported, target: PollTarget
) -> None:
    async with pod(target.port, [503, 404, 200]) as requests:
        poller.follow(LLAMA, [target])
        await reported.came.wait()
    assert requests.qsize() == 3


async def test_a_pod_that_is_gone_is_no_longer_polled(
    poller: ReadinessPoller, reported: Reported, target: PollTarget
) -> None:
    async with pod(target.port, [503]) as requests:
        poller.follow(LLAMA, [target])
        await requests.get()
        poller.follow(LLAMA, ())
        await asyncio.sleep(0.2)
        assert requests.empty()
    assert reported.all == []


async def test_a_restarted_container_is_polled_again(
    poller: ReadinessPoller, reported: Reported, target: PollTarget
) -> None:
    restarted = PollTarget(target.key, target.uid, target.host, target.port, "another container")
    async with pod(target.port, [200]):
        for each in (target, restarted):
            reported.came.clear()
            poller.follow(LLAMA, [each])
            await reported.came.wait()
    assert reported.all == [target, restarted]
