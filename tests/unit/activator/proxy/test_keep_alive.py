"""Whether a connection stays open: after a refusal, and while its port closes."""

from __future__ import annotations

import asyncio
import socket

import pytest
from slipway.activator.http1.channel import MOST_UNREAD, MOST_UNSENT
from slipway.activator.proxy.client_connection import ClientConnection
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.listener import Listener
from slipway.activator.shared.request_rules import RequestRules
from slipway.process.connection_limits import ConnectionState
from support.fakes.scripted_engine import ScriptedEngine, answering, echoing, scripted_engine, when
from support.programs.activator import LLAMA, Activator, activated, connected
from support.programs.protected_model import HERE, WITH_KEYS, only_from, protected_model

HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
NOT_SERVED = b"GET /favicon.ico HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
OURS = RequestRules()


def port_of(activator: Activator) -> Listener:
    return activator.listeners._listeners[LLAMA]


async def only_connection(activator: Activator) -> ClientConnection:
    async with asyncio.timeout(10):
        while not port_of(activator).connections:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)
    [connection] = port_of(activator).connections
    return connection


# --- after a refusal -------------------------------------------------------------------------------------------------


async def test_a_refusal_does_not_end_what_was_pipelined_behind_it() -> None:
    async with activated(rules=OURS) as activator, connected(activator) as client:
        client.send(NOT_SERVED * 20 + HEALTH)
        answers = [await client.answer() for _ in range(21)]
    assert [answer.status for answer in answers] == [404] * 20 + [200]
    assert not any("connection" in answer.headers for answer in answers)


@pytest.mark.parametrize(
    "data", [b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n", POST], ids=["without a body", "with one"]
)
@pytest.mark.parametrize(("request_rules", "status"), [(only_from(), 403), (WITH_KEYS, 401)])
async def test_a_refused_client_may_send_another_request_on_the_same_connection(
    request_rules: RequestRules, status: int, data: bytes
) -> None:
    async with protected_model(request_rules) as model, connected(model.activator) as client:
        client.send(data * 2)
        assert [(await client.answer()).status for _ in range(2)] == [status] * 2


async def test_a_refused_client_loses_its_connection_when_another_client_needs_one() -> None:
    async with protected_model(only_from()) as refused, connected(refused.activator) as client:
        for _ in range(2):
            client.send(NOT_SERVED)
            assert (await client.answer()).status == 403
        guest = (await only_connection(refused.activator)).counted
        assert guest
        states = [guest.state]
        refused.activator.update(rules=OURS)
        client.send(HEALTH)
        assert (await client.answer()).status == 200
        assert [*states, guest.state] == [ConnectionState.SILENT, ConnectionState.IDLE]


async def test_a_refused_client_is_waited_for_less_long_than_others() -> None:
    config = ProxyConfig(head_timeout=0.1)
    async with protected_model(only_from(), config=config) as refused, connected(refused.activator) as client:
        client.send(NOT_SERVED)
        await client.answer()
        assert await asyncio.wait_for(client.is_closed(), 5)


async def test_an_unfinished_body_ends_the_connection_of_a_refused_client() -> None:
    async with activated(rules=OURS) as activator, connected(activator) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab")
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (404, "close")
        assert await client.is_closed()


@pytest.mark.parametrize("data", [NOT_SERVED, HEALTH], ids=["refusals", "answers at zero"])
async def test_a_client_that_does_not_read_its_responses_gets_no_more_of_them(data: bytes) -> None:
    async with activated(rules=OURS) as activator:
        reader, writer = await asyncio.open_connection(HERE, await activator.port(), limit=1)
        connection = await only_connection(activator)
        channel = connection.channel
        channel._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        writer.write(data * 100_000)
        async with asyncio.timeout(20):
            while not channel.is_stalled:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.01)
        for _ in range(1000):
            await asyncio.sleep(0)
            assert channel._transport.get_write_buffer_size() < MOST_UNSENT + 1024
        assert channel.parser.unparsed <= MOST_UNREAD
        writer.transport.abort()
        del reader


# --- while its port closes -------------------------------------------------------------------------------------------


def close_after_read(connection: ClientConnection, port: Listener) -> None:
    parser = connection.channel.parser
    take = parser.take

    def take_and_close(data: bytes) -> None:
        take(data)
        port.shut()

    parser.take = take_and_close  # type: ignore[method-assign]


async def test_a_request_that_has_arrived_is_answered_though_the_port_closes(
    activator: Activator, engine: ScriptedEngine
) -> None:
    async with connected(activator) as client:
        close_after_read(await only_connection(activator), port_of(activator))
        client.send(POST)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.is_closed()


async def test_all_pipelined_requests_are_answered_and_the_last_response_closes_the_connection(
    activator: Activator, engine: ScriptedEngine
) -> None:
    async with connected(activator) as client:
        close_after_read(await only_connection(activator), port_of(activator))
        client.send(POST * 20)
        answers = [await client.answer() for _ in range(20)]
        assert await client.is_closed()
    assert ["connection" in answer.headers for answer in answers] == [False] * 19 + [True]
    assert len(engine.requests) == 20


async def test_a_request_that_arrives_after_the_port_has_closed_is_not_accepted() -> None:
    released = asyncio.Event()
    async with scripted_engine(when(released, echoing())) as engine, activated(grace=5) as activator:
        activator.ready(engine)
        async with connected(activator) as client:
            client.send(POST)
            await engine.until_requests()
            port_of(activator).shut()
            client.send(POST * 1000)
            await asyncio.sleep(0.05)
            released.set()
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await client.is_closed()
    assert len(engine.requests) == 1


async def test_the_rest_of_a_request_that_has_started_is_waited_for(
    activator: Activator, engine: ScriptedEngine
) -> None:
    async with connected(activator) as client:
        connection, port = await only_connection(activator), port_of(activator)
        client.send(POST[:30])
        async with asyncio.timeout(10):
            while not connection.channel.parser.has_started_head:  # noqa: ASYNC110
                await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        port.shut()
        client.send(POST[30:])
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")


async def test_an_idle_connection_is_closed(activator: Activator, engine: ScriptedEngine) -> None:
    engine.script = answering(b"{}")
    async with connected(activator) as client:
        client.send(POST)
        assert "connection" not in (await client.answer()).headers
        port_of(activator).shut()
        assert await client.is_closed()
