"""Refusals of malformed or slow HTTP are counted, with reasons that no client can choose."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.proxy.config import ProxyConfig
from support.fakes.scripted_engine import ScriptedEngine, answering, echoing, scripted_engine
from support.programs.activator import Activator, Client, activated, connected, refusals

POST = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    async with scripted_engine(echoing()) as engine:
        yield engine


TOO_LARGE = POST + b"X: " + b"x" * 40_000
AT_THE_BORDER = {
    "no HTTP": (b"hello\r\n\r\n", "RequestInvalid"),
    "another protocol": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "RequestInvalid"),
    "a head that is too large": (TOO_LARGE, "RequestInvalid"),
    "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "RequestInvalid"),
    "a chunk without a size": (POST + CHUNKED + b"hello\r\n", "RequestInvalid"),
    "endless trailers": (POST + CHUNKED + b"0\r\nX: " + b"x" * 40_000, "RequestInvalid"),
    "a body that stalls": (POST + b"Content-Length: 5\r\n\r\nab", "RequestInvalid"),
    "a body that is too large": (POST + b"Content-Length: 99999999999\r\n\r\n", "RequestTooLarge"),
    "half a head": (POST, "HeadTooSlow"),
    "line ends": (b"\r\n", "HeadTooSlow"),
    "nothing": (b"", "Silent"),
}


@pytest.mark.parametrize(("sent", "reason"), AT_THE_BORDER.values(), ids=AT_THE_BORDER.keys())
async def test_each_refusal_of_malformed_http_is_counted_once(sent: bytes, reason: str) -> None:
    global_limits, config = GlobalLimits(), ProxyConfig(head_timeout=0.2, body_timeout=0.2, linger=0.05)
    async with activated(global_limits=global_limits, config=config) as activator, connected(activator) as client:
        client.send(sent)
        with contextlib.suppress(ConnectionError):
            await client.reader.read()
    assert refusals(global_limits) == {reason: 1}


async def test_a_slow_head_after_a_request_is_counted_and_a_head_that_never_starts_is_not(
    engine: ScriptedEngine,
) -> None:
    global_limits = GlobalLimits()
    async with activated(global_limits=global_limits, config=ProxyConfig(idle_timeout=0.2)) as activator:
        activator.ready(engine)
        for following in (b"", POST):
            async with connected(activator) as client:
                client.post()
                await client.answer()
                client.send(following)
                assert await client.is_closed()
    assert refusals(global_limits) == {"HeadTooSlow": 1}


async def test_a_client_that_disconnects_is_not_counted(engine: ScriptedEngine) -> None:
    global_limits = GlobalLimits()
    async with activated(global_limits=global_limits) as activator:
        for sent in (b"", POST, POST + b"Content-Length: 5\r\n\r\nab"):
            async with connected(activator) as client:
                client.send(sent)
                await client.writer.drain()
        async with asyncio.timeout(10):
            while global_limits.counters.connections:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.01)
    assert not refusals(global_limits)


async def test_refused_connections_and_evicted_connections_are_counted() -> None:
    global_limits = GlobalLimits()
    async with activated(global_limits=global_limits, config=ProxyConfig(connections_per_port=4)) as activator:
        busy = [await _from("127.0.0.2", activator) for _ in range(3)]
        for number, each in enumerate(busy, 1):
            each.post()
            await activator.until_waiting(number)
        refused = await _from("127.0.0.2", activator)
        assert (await refused.answer()).error["code"] == "TooManyConnections"
        silent = await _from("127.0.0.3", activator)
        replacing = await _from("127.0.0.4", activator)
        assert await silent.is_closed()
        assert refusals(global_limits) == {"TooManyConnections": 1, "MadeRoom": 1}
        for each in (*busy, refused, silent, replacing):
            each.close()


async def test_a_response_that_the_client_does_not_read_is_counted(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.activator.http1.channel.LONGEST_STALL", 0.1)
    global_limits = GlobalLimits()
    engine.script = answering(bytes(32 << 20))
    async with activated(global_limits=global_limits) as activator:
        activator.ready(engine)
        async with connected(activator) as client:
            client.post()
            async with asyncio.timeout(10):
                while not refusals(global_limits):  # noqa: ASYNC110 - there is no event
                    await asyncio.sleep(0.01)
    assert refusals(global_limits) == {"AnswerNotTaken": 1}


async def test_a_client_that_does_not_read_the_end_of_its_response_keeps_its_slot_until_it_is_dropped(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.activator.http1.channel.LONGEST_STALL", 0.2)
    monkeypatch.setattr(
        "slipway.activator.http1.channel.MOST_UNSENT", 64 << 20
    )  # so that the entire response fits into the buffer
    global_limits = GlobalLimits()
    engine.script = answering(bytes(32 << 20))
    async with activated(global_limits=global_limits) as activator:
        activator.ready(engine)
        async with connected(activator) as client:
            client.post(headers="Connection: close\r\n")
            async with asyncio.timeout(10):
                while not refusals(global_limits):
                    assert global_limits.counters.connections >= global_limits.counters.forwarded
                    await asyncio.sleep(0.01)
    assert refusals(global_limits) == {"AnswerNotTaken": 1}


async def test_no_client_can_add_a_reason_label() -> None:
    """The number of time series in Prometheus stays bounded."""
    global_limits = GlobalLimits()
    async with activated(global_limits=global_limits, config=ProxyConfig(head_timeout=0.05, linger=0.05)) as activator:
        for number in range(30):
            async with connected(activator) as client:
                word = b"word%d" % number
                client.send(b"%b /%b HTTP/1.1\r\n%b: %b\r\n%b\r\n\r\n" % ((word,) * 5))
                await client.is_closed()
    assert refusals(global_limits) == {"RequestInvalid": 30}


async def _from(address: str, activator: Activator) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", await activator.port(), local_addr=(address, 0)))
