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
async def pod(port: int, answers: list[int], ready: asyncio.Event | None = None) -> AsyncIterator[asyncio.Queue[str]]:
    """Sends these responses one after the other, the last one repeatedly, not before `ready`; records the requests."""
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def answer(request: web.Request) -> web.Response:
        asked.put_nowait(request.path_qs)
        if ready:
            await ready.wait()
        return web.Response(status=answers[0] if len(answers) == 1 else answers.pop(0))

    app = web.Application()
    app.router.add_get("/readyz", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield asked
    finally:
        await runner.cleanup()


class Greeted:
    def __init__(self) -> None:
        self.all: list[PollTarget] = []
        self.came = asyncio.Event()

    def hear(self, target: PollTarget) -> None:
        self.all.append(target)
        self.came.set()


@pytest.fixture
def greeted() -> Greeted:
    return Greeted()


@pytest.fixture
async def greeting(greeted: Greeted) -> AsyncIterator[ReadinessPoller]:
    greeting = ReadinessPoller(greeted.hear)
    yield greeting
    await greeting.close()


@pytest.fixture
def target() -> PollTarget:
    return PollTarget(LLAMA, "uid", "127.0.0.1", free_port(), "container")


async def test_a_request_to_a_pod_stays_open_until_that_is_ready(
    greeting: ReadinessPoller, greeted: Greeted, target: PollTarget
) -> None:
    ready = asyncio.Event()
    async with pod(target.port, [200], ready) as asked:
        greeting.follow(LLAMA, [target])
        assert await asked.get() == "/readyz?wait=10"
        assert greeted.all == []
        ready.set()
        await greeted.came.wait()
    assert asked.empty()
    assert greeted.all == [target]


async def test_it_retries_until_a_pod_listens(greeting: ReadinessPoller, greeted: Greeted, target: PollTarget) -> None:
    greeting.follow(LLAMA, [target])
    await asyncio.sleep(0.1)
    async with pod(target.port, [200]):
        await greeted.came.wait()
    assert greeted.all == [target]


async def test_a_pod_that_is_not_ready_is_polled_again(
    greeting: ReadinessPoller, greeted: Greeted, target: PollTarget
) -> None:
    async with pod(target.port, [503, 404, 200]) as asked:
        greeting.follow(LLAMA, [target])
        await greeted.came.wait()
    assert asked.qsize() == 3


async def test_a_pod_that_is_gone_is_no_longer_polled(
    greeting: ReadinessPoller, greeted: Greeted, target: PollTarget
) -> None:
    async with pod(target.port, [503]) as asked:
        greeting.follow(LLAMA, [target])
        await asked.get()
        greeting.follow(LLAMA, ())
        await asyncio.sleep(0.2)
        assert asked.empty()
    assert greeted.all == []


async def test_a_restarted_container_is_polled_again(
    greeting: ReadinessPoller, greeted: Greeted, target: PollTarget
) -> None:
    again = PollTarget(target.key, target.uid, target.host, target.port, "another container")
    async with pod(target.port, [200]):
        for each in (target, again):
            greeted.came.clear()
            greeting.follow(LLAMA, [each])
            await greeted.came.wait()
    assert greeted.all == [target, again]
