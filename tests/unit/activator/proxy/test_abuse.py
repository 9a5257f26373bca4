"""Attacks on the activator, and on others through it, that it prevents."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator

import pytest
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.listener import Listener
from slipway.activator.proxy.listeners import serve
from slipway.activator.shared.demand import Demand
from slipway.activator.shared.hold_limits import HoldLimits
from slipway.activator.shared.model_state import ModelState, ModelStates
from slipway.api.model_key import ModelKey
from support.fakes import virtual_time
from support.fakes.scripted_engine import (
    STREAM_HEAD,
    ScriptedEngine,
    answering,
    echoing,
    in_chunk,
    scripted_engine,
    token,
)
from support.ports import free_port
from support.programs.activator import LLAMA, Activator, activated, ask, connected

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
GET = b"GET / HTTP/1.1\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

REFUSED = {
    "both lengths": POST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "both lengths, in reverse order": POST + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "two equal lengths": POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a list of lengths": POST + b"Content-Length: 1, 1\r\n\r\na",
    "a length with a sign": POST + b"Content-Length: +1\r\n\r\na",
    "a length beyond numbers": POST + b"Content-Length: 99999999999999999999\r\n\r\na",
    "a space before the colon": POST + b"Content-Length : 1\r\n\r\na",
    "a folded header": POST + b"X: a\r\n b\r\nContent-Length: 1\r\n\r\na",
    "a folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "lone line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "one lone line feed": GET + b"Host: a\nX: b\r\n\r\n",
    "a lone carriage return": GET + b"Host: a\rX: b\r\n\r\n",
    "a zero byte": GET + b"Host: a\r\nX: a\0b\r\n\r\n",
    "an unknown coding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "nearly chunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
    "chunks of HTTP/1.0": b"POST / HTTP/1.0\r\nHost: a\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "a chunk that ends with a line feed": POST + CHUNKED + b"\r\n1\na\r\n0\r\n\r\n",
    "a chunk size with a prefix": POST + CHUNKED + b"\r\n0x1\r\na\r\n0\r\n\r\n",
    "a chunk that is too long": POST + CHUNKED + b"\r\n1\r\nabc0\r\n\r\n",
    "a chunk size beyond numbers": POST + CHUNKED + b"\r\nFFFFFFFFFFFFFFFFF\r\na\r\n0\r\n\r\n",
    "a space in a name": GET + b"Host: a\r\nX Y: a\r\n\r\n",
    "no name": GET + b"Host: a\r\n: a\r\n\r\n",
    "no colon": GET + b"Host: a\r\nabc\r\n\r\n",
    "a header before the first": GET + b" X: a\r\nHost: a\r\n\r\n",
    "two hosts": GET + b"Host: a\r\nHost: b\r\n\r\n",
    "no host": GET + b"\r\n",
    "an invalid host": GET + b"Host: a/b\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2 with prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a tunnel": b"CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "an echo": b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
    "another scheme": b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a user in the URL": b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "an odd expectation": POST + b"Expect: 200-maybe\r\nContent-Length: 0\r\n\r\n",
    "a URL without end": b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "headers without end": GET + b"Host: a\r\nX: " + b"x" * 40_000,
    "too many headers": GET + b"Host: a\r\n" + b"X: y\r\n" * 101 + b"\r\n",
}


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    async with scripted_engine(echoing()) as engine:
        yield engine


@pytest.fixture
async def activator(engine: ScriptedEngine) -> AsyncIterator[Activator]:
    async with activated(config=ProxyConfig(linger=0.1, head_timeout=5)) as activator:
        activator.ready(engine)
        yield activator


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
async def test_an_ambiguous_request_is_refused_and_its_connection_closed(
    activator: Activator, engine: ScriptedEngine, raw: bytes
) -> None:
    async with connected(activator) as client:
        client.send(raw + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        refused = await client.answer()
        assert 400 <= refused.status < 600
        assert refused.error["code"] == "RequestInvalid"
        assert await client.is_closed()
    assert not any("smuggled" in request.first_line for request in engine.requests)


async def test_a_body_that_looks_like_a_request_is_a_body(activator: Activator, engine: ScriptedEngine) -> None:
    inner = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    assert (await ask(activator, inner)).body == inner
    assert [request.first_line for request in engine.requests] == ["POST /v1/completions HTTP/1.1"]


@pytest.mark.parametrize("beginning", [b"", b"GET / HT", GET + b"Host: a\r\nX: "])
async def test_a_client_that_sends_no_request_is_not_waited_for(engine: ScriptedEngine, beginning: bytes) -> None:
    async with activated(config=ProxyConfig(head_timeout=0.1)) as activator, connected(activator) as client:
        client.send(beginning)
        assert await client.is_closed()


async def test_a_body_that_does_not_arrive_is_not_waited_for(engine: ScriptedEngine) -> None:
    config = ProxyConfig(body_timeout=0.1, linger=0.1)
    async with activated(config=config) as activator, connected(activator) as client:
        client.send(POST + b"Content-Length: 10\r\n\r\nabc")
        assert (await client.answer()).status == 408
        assert await client.is_closed()


async def test_a_body_that_timed_out_is_read_until_its_client_has_seen_the_reason() -> None:
    config = ProxyConfig(linger=5.0)
    async with activated(limits=HoldLimits(timeout=0.2), config=config) as activator, connected(activator) as client:
        client.send(POST + b"Content-Length: 10\r\n\r\nabc")
        assert (await client.answer()).status == 408
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.is_closed(), 0.3)


async def test_a_body_that_stops_on_its_way_to_a_replica_is_not_the_replicas_fault(engine: ScriptedEngine) -> None:
    config = ProxyConfig(body_timeout=0.2, linger=0.1, stored_body=4)
    async with activated(config=config) as activator, connected(activator) as client:
        activator.ready(engine)
        client.send(POST + b"Content-Length: 10\r\n\r\nabcdefg")
        assert (await client.answer()).status == 408


async def test_an_unused_connection_is_closed(engine: ScriptedEngine) -> None:
    async with activated(config=ProxyConfig(idle_timeout=0.1)) as activator:
        activator.ready(engine)
        async with connected(activator) as client:
            client.post()
            await client.answer()
            assert await client.is_closed()


async def test_too_many_connections_are_refused(engine: ScriptedEngine) -> None:
    async with activated(config=ProxyConfig(connections_per_port=1)) as activator:
        activator.ready(engine)
        async with connected(activator) as first:
            first.post()
            await first.answer()
            async with connected(activator) as second:
                second.post()
                assert (await second.answer()).error["code"] == "TooManyConnections"
            first.post()
            assert (await first.answer()).status == 200


async def test_no_request_reaches_any_host_other_than_the_replicas(
    activator: Activator, engine: ScriptedEngine
) -> None:
    async with scripted_engine() as outsider:
        target = f"http://127.0.0.1:{outsider.port}/"
        async with connected(activator) as client:
            client.send(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{outsider.port}\r\n\r\n".encode())
            assert (await client.answer()).status == 200
        assert (len(engine.requests), len(outsider.requests)) == (1, 0)


# --- ports -----------------------------------------------------------------------------------------------------------


async def test_the_port_of_a_deleted_deployment_is_closed_immediately(activator: Activator) -> None:
    port = await activator.port()
    async with connected(activator) as idle:
        idle.post()
        await idle.answer()
        activator.deployments.forget(LLAMA)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert await idle.is_closed()


async def test_a_response_under_way_is_finished_though_its_deployment_is_deleted(
    activator: Activator, engine: ScriptedEngine
) -> None:
    released = asyncio.Event()

    async def script(request: object, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + in_chunk(token("a")))
        await released.wait()
        writer.write(in_chunk(token("b")) + b"0\r\n\r\n")

    engine.script = script
    async with connected(activator) as client:
        client.post()
        await client.head()
        activator.deployments.forget(LLAMA)
        released.set()
        assert [await client.chunk() for _ in range(3)] == [token("a"), token("b"), b""]


async def test_each_deployment_has_its_own_port_and_its_own_replicas(engine: ScriptedEngine) -> None:
    gemma = ModelKey("chat", "gemma")
    async with activated() as activator, scripted_engine() as other:
        activator.ready(engine)
        before = await activator.port()
        activator.deployments.update(ModelState(key=gemma, port=0))
        assert await activator.listeners.port(gemma) != before
        await ask(activator)
        assert (len(engine.requests), len(other.requests)) == (1, 0)


async def test_a_deployment_can_move_to_another_port(activator: Activator) -> None:
    before = await activator.port()
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    activator.update(port=number)
    assert await activator.port() == number
    assert (await ask(activator)).status == 200
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", before)


async def test_a_port_in_use_is_opened_when_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.activator.proxy.listeners.TRY_AGAIN_AFTER", 0.02)
    deployments = ModelStates()
    async with serve(deployments, Demand(), host="127.0.0.1", grace=0) as listeners:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            number = taken.getsockname()[1]
            deployments.update(ModelState(key=LLAMA, port=number))
            await asyncio.sleep(0.1)
        assert await asyncio.wait_for(listeners.port(LLAMA), 10) == number


def test_a_port_that_stays_in_use_is_logged_once_a_minute_and_tried_each_second(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    attempts = 0

    async def is_taken(*_: object) -> int:
        nonlocal attempts
        attempts += 1
        raise OSError("address already in use")

    async def two_minutes_and_a_half() -> None:
        deployments = ModelStates()
        async with serve(deployments, Demand(), grace=0):
            deployments.update(ModelState(key=LLAMA, port=20000))
            await asyncio.sleep(150.5)

    monkeypatch.setattr(Listener, "open", is_taken)
    virtual_time.run(two_minutes_and_a_half())
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 3  # immediately, and after each minute
    assert "Port 20000 can't be opened" in errors[0]
    assert attempts == 151


async def test_during_the_shutdown_held_requests_go_to_a_replica_that_becomes_ready() -> None:
    async with scripted_engine(answering(b"ok")) as engine:
        async with activated(grace=10) as activator:
            request_task = asyncio.create_task(ask(activator))
            await activator.until_waiting(1)
            asyncio.get_running_loop().call_later(0.05, activator.ready, engine)
        assert (await request_task).body == b"ok"


async def test_during_the_shutdown_no_new_connection_is_accepted() -> None:
    async with activated(grace=10) as activator:
        port = await activator.port()
        held = asyncio.create_task(ask(activator))
        await activator.until_waiting(1)
        closing = asyncio.create_task(activator.listeners.close(grace=10))
        await asyncio.sleep(0)
        activator.update(port=free_port())
        activator.deployments.update(ModelState(key=ModelKey("chat", "another"), port=free_port()))
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert not activator.listeners._ports
        activator.deployments.forget(LLAMA)
        assert (await held).error["code"] == "Deleting"
        await closing


async def test_during_the_shutdown_requests_under_way_get_time_to_finish() -> None:
    released = asyncio.Event()

    async def script(request: object, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with scripted_engine(script) as engine:
        async with activated(grace=10) as activator:
            activator.ready(engine)
            request_task = asyncio.create_task(ask(activator))
            await engine.until_requests()
            asyncio.get_running_loop().call_later(0.05, released.set)
        assert (await request_task).body == b"ok"
