"""What a pod can respond to the activator's own polls: only readiness and metrics are read from it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from slipway.activator.http1.fetch import get
from slipway.activator.tracking import metrics_poller, poller
from slipway.activator.tracking.engine_metrics import MetricsReading
from slipway.activator.tracking.metrics_poller import MetricsPoller
from slipway.activator.tracking.poller import PollTarget
from slipway.activator.tracking.readiness_poller import ReadinessPoller
from slipway.api.model_key import ModelKey
from support.fakes.scripted_engine import (
    Asked,
    Script,
    ScriptedEngine,
    answer,
    answering,
    in_turn,
    saying,
    scripted_engine,
)

LLAMA = ModelKey("chat", "llama")
ONE_RUNNING = b"vllm:num_requests_running 1\n"


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_poller, "EVERY", (0.01, 0.01))
    monkeypatch.setattr(poller, "AFTER_AN_ERROR", 0.01)


@asynccontextmanager
async def scraped(engine: ScriptedEngine, on_reading: Callable[[MetricsReading], None]) -> AsyncIterator[None]:
    following = MetricsPoller(lambda deployment, uid, reading: on_reading(reading))
    following.follow(LLAMA, [PollTarget(LLAMA, "uid", "127.0.0.1", engine.port)])
    try:
        yield
    finally:
        await following.close()


async def first_reading(script: Script) -> MetricsReading:
    readings: asyncio.Queue[MetricsReading] = asyncio.Queue()
    async with scripted_engine(script) as engine, scraped(engine, readings.put_nowait), asyncio.timeout(20):
        return await readings.get()


@pytest.mark.parametrize(
    "nonsense",
    [
        answer(b"vllm:num_requests_running +Inf\n"),
        answer(b"vllm:num_requests_running -5\n"),
        answer(b"\xff" * 1000),
        answer(ONE_RUNNING, headers="Content-Encoding: gzip\r\nTransfer-Encoding: gzip\r\n"),
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000,
        b"HTTP/1.1 102 Processing\r\n\r\n" * 5000,
        answer(ONE_RUNNING * 200_000),
    ],
    ids=["infinite", "negative", "garbage", "coded", "headers", "interim answers", "too much"],
)
async def test_a_malformed_response_is_not_a_reading_and_the_pod_is_polled_again(nonsense: bytes) -> None:
    assert await first_reading(in_turn(saying(nonsense), answering(ONE_RUNNING * 2))) == MetricsReading(2, 0)


async def test_redirects_are_not_followed_and_give_no_reading() -> None:
    redirect = answering(ONE_RUNNING, status="302 Found", headers="Location: /elsewhere\r\n")
    at_its_own_path = in_turn(redirect, answering(ONE_RUNNING * 2))

    async def script(request: Asked, writer: asyncio.StreamWriter) -> None:
        is_elsewhere = request.first_line.startswith("GET /elsewhere ")
        await (answering(ONE_RUNNING * 3) if is_elsewhere else at_its_own_path)(request, writer)

    assert await first_reading(script) == MetricsReading(2, 0)


async def test_an_internal_error_is_logged_once_and_polling_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    received = asyncio.Event()
    times = 0

    def on_reading(reading: MetricsReading) -> None:
        nonlocal times
        times += 1
        if times <= 3:
            raise ValueError
        received.set()

    async with scripted_engine(answering(ONE_RUNNING)) as engine, scraped(engine, on_reading), asyncio.timeout(20):
        await received.wait()
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


async def test_redirects_are_not_followed_and_do_not_count_as_readiness() -> None:
    async with scripted_engine(answering(b"")) as other:
        redirect = answering(
            b"", status="302 Found", headers=f"Location: http://127.0.0.1:{other.port}/x?\r\nSet-Cookie: a=b\r\n"
        )
        async with scripted_engine(in_turn(redirect, redirect, answering(b""))) as engine, asyncio.timeout(20):
            became_ready = asyncio.Event()
            poller = ReadinessPoller(lambda target: became_ready.set())
            poller.follow(LLAMA, [PollTarget(LLAMA, "uid", "127.0.0.1", engine.port)])
            await became_ready.wait()
            await poller.close()
        assert len(engine.requests) == 3
        assert not other.requests


async def test_a_poll_carries_no_data_of_the_activator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with scripted_engine(answering(b"")) as engine:
        assert await get("127.0.0.1", engine.port, "/readyz") == 200
    assert {name for name, _ in engine.requests[0].headers} == {"host", "connection"}


async def test_only_the_status_of_a_readiness_response_is_read() -> None:
    stuck = asyncio.Event()

    async def script(request: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except ConnectionError:
            stuck.set()

    async with scripted_engine(script) as engine, asyncio.timeout(20):
        assert await get("127.0.0.1", engine.port, "/readyz") == 200
        await stuck.wait()
