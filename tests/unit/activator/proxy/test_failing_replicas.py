"""Replicas that are unreachable, break off or send nonsense: what is retried, and what a client receives."""

import asyncio
import json
import socket
import sys

import pytest
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.request_body import BLOCK
from slipway.activator.proxy.upstream_pool import UpstreamPool
from slipway.observing.wake_estimate import LONGEST
from slipway.operator.rendering.inferenceservice import LONGEST_REQUEST
from support.fakes.scripted_engine import (
    STREAM_HEAD,
    Script,
    ScriptedEngine,
    answer,
    answering,
    cutting,
    echoing,
    in_chunk,
    in_turn,
    saying,
    scripted_engine,
    token,
    when,
)
from support.programs.activator import Activator, activated, ask, connected

JSON = "Content-Type: application/json\r\n"
EMPTY_ABORT = json.dumps({"choices": [{"text": "", "finish_reason": "abort"}]}).encode()


@pytest.mark.parametrize(
    "failure",
    [
        cutting(),
        cutting(b"HTTP/1.1 200 O"),
        answering(b"later", status="503 Service Unavailable"),
        answering(EMPTY_ABORT, headers=JSON),
        saying(STREAM_HEAD + in_chunk(token("", finish="abort")) + b"0\r\n\r\n"),
        cutting(STREAM_HEAD + in_chunk(token(""))),
    ],
    ids=["cut", "cut within the head", "503", "empty abort", "empty abort of a stream", "cut before any text"],
)
async def test_an_attempt_without_any_response_is_followed_by_another(
    activator: Activator, engine: ScriptedEngine, failure: Script
) -> None:
    engine.script = in_turn(failure, failure, echoing())
    assert (await ask(activator, b"the whole body")).body == b"the whole body"
    assert len(engine.requests) == 3


async def test_an_unreachable_replica_does_not_keep_a_request_from_the_other(engine: ScriptedEngine) -> None:
    async with scripted_engine() as dead:
        pass
    async with activated() as activator:
        activator.ready(dead, engine)
        assert [(await ask(activator)).status for _ in range(4)] == [200] * 4


async def test_a_request_that_can_be_sent_only_once_is_not_sent_over_a_connection_that_may_just_close(
    engine: ScriptedEngine,
) -> None:
    async with activated(config=ProxyConfig(stored_body=1000)) as activator:
        activator.ready(engine)
        engine.script = in_turn(answering(b"first"), echoing())
        for number in (1, 2):
            await ask(activator, bytes(100_000))
            assert engine.connections == number


async def test_a_kept_connection_that_has_just_closed_costs_nothing(
    activator: Activator, engine: ScriptedEngine
) -> None:
    await ask(activator)
    engine.script = in_turn(cutting(), answering(b"again"))
    response = await ask(activator)
    assert (response.body, response.headers["slipway-held-ms"]) == (b"again", "0")


async def test_an_abort_after_the_first_text_is_the_response(activator: Activator, engine: ScriptedEngine) -> None:
    engine.script = saying(
        STREAM_HEAD + in_chunk(token("word")) + in_chunk(token("", finish="abort")) + b"0\r\n\r\n",
    )
    assert (await ask(activator)).body == token("word") + token("", finish="abort")
    assert len(engine.requests) == 1


@pytest.mark.parametrize("status", [400, 404, 429, 500, 502])
async def test_any_other_error_of_an_engine_is_its_response(
    activator: Activator, engine: ScriptedEngine, status: int
) -> None:
    engine.script = answering(b"{}", status=f"{status} Odd")
    assert (await ask(activator)).status == status
    assert len(engine.requests) == 1


async def test_a_stream_that_breaks_off_reports_it_and_does_not_look_complete(
    activator: Activator, engine: ScriptedEngine
) -> None:
    engine.script = cutting(STREAM_HEAD + in_chunk(token("word")) + b"5\r\nda")
    async with connected(activator) as client:
        client.post()
        await client.head()
        received = await client.chunk()
        while b"ReplicaLost" not in received:
            received += await client.chunk()
        assert await client.is_closed()
    assert received.startswith(token("word"))
    assert len(engine.requests) == 1


async def test_a_response_that_breaks_off_does_not_look_complete(activator: Activator, engine: ScriptedEngine) -> None:
    engine.script = cutting(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    async with connected(activator) as client:
        client.post()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()


async def test_a_body_that_is_no_longer_stored_is_not_sent_again() -> None:
    config = ProxyConfig(stored_body=10)
    async with scripted_engine(cutting()) as engine, activated(config=config) as activator:
        activator.ready(engine)
        response = await ask(activator, b"x" * 1000)
    assert (response.status, response.error["code"], len(engine.requests)) == (502, "ReplicaLost", 1)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000 + b"\r\n\r\n",
    ],
    ids=["not HTTP", "two lengths", "unknown coding", "another protocol", "endless head"],
)
async def test_an_invalid_response_of_a_replica_is_not_passed_on(
    activator: Activator, engine: ScriptedEngine, nonsense: bytes
) -> None:
    engine.script = saying(nonsense)
    response = await ask(activator)
    assert (response.status, response.error["code"]) == (502, "ReplicaLost")


async def test_unrequested_data_from_a_replica_reaches_no_client(activator: Activator, engine: ScriptedEngine) -> None:
    engine.script = in_turn(saying(answer(b"one") + answer(b"poison")), answering(b"two"))
    assert [(await ask(activator)).body for _ in range(2)] == [b"one", b"two"]


# --- a request that always fails -------------------------------------------------------------------------------------

ABORTED = b'{"error": {"message": "The engine gave up.", "code": "engine_aborted"}}'


async def test_a_request_that_is_always_unavailable_is_tried_three_times_and_gets_the_engines_own_response(
    activator: Activator, engine: ScriptedEngine
) -> None:
    engine.script = answering(ABORTED, status="503 Service Unavailable", headers=JSON)
    response = await ask(activator)
    assert (response.status, response.body, response.headers["retry-after"]) == (503, ABORTED, "1")
    assert len(engine.requests) == 3


async def test_an_engines_own_retry_after_is_passed_on_unchanged(activator: Activator, engine: ScriptedEngine) -> None:
    engine.script = answering(b"", status="503 Service Unavailable", headers="Retry-After: 7\r\n")
    assert (await ask(activator)).headers["retry-after"] == "7"


@pytest.mark.parametrize("failure", [cutting(), answering(EMPTY_ABORT, headers=JSON)], ids=["cut", "empty abort"])
@pytest.mark.parametrize("reuses", [False, True], ids=["new connection", "kept connection"])
async def test_a_request_that_always_breaks_a_replica_is_tried_three_times(
    activator: Activator, engine: ScriptedEngine, failure: Script, reuses: bool
) -> None:
    if reuses:
        released = asyncio.Event()
        engine.script = when(released, echoing())
        many = [asyncio.create_task(ask(activator)) for _ in range(5)]
        await engine.until_requests(5)
        released.set()
        await asyncio.gather(*many)
    before = len(engine.requests)
    engine.script = failure
    response = await ask(activator)
    assert (response.status, response.error["code"]) == (502, "ReplicaLost")
    assert len(engine.requests) - before == 3


@pytest.mark.parametrize("code", ["draining", "overloaded"])
async def test_a_replica_that_has_done_no_work_is_tried_until_it_accepts(
    activator: Activator, engine: ScriptedEngine, code: str
) -> None:
    away = answering(json.dumps({"error": {"code": code}}).encode(), status="503 Service Unavailable", headers=JSON)
    engine.script = in_turn(away, away, away, away, echoing())
    assert (await ask(activator, b"prompt")).body == b"prompt"


# --- a replica that does not respond ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "beginning",
    [b"", b"HTTP/1.1 200 O", STREAM_HEAD, STREAM_HEAD + in_chunk(b": ping\n\n")],
    ids=["no byte", "half a head", "a head", "a comment"],
)
async def test_a_replica_that_does_not_respond_is_not_waited_for_for_ever(beginning: bytes) -> None:
    forever = asyncio.Event()

    async def script(request: object, writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        await forever.wait()

    async with scripted_engine(script) as engine, activated(config=ProxyConfig(silence=0.2)) as activator:
        activator.ready(engine)
        response = await ask(activator)
        assert (response.status, response.error["code"]) == (502, "ReplicaLost")
        assert "sent nothing" in response.error["message"]
        await activator.until_inactive()


@pytest.mark.parametrize("kept", [8 << 20, 1000], ids=["that can be sent again", "that passes through"])
async def test_a_replica_that_does_not_respond_to_a_large_body_is_not_waited_for_for_ever(kept: int) -> None:
    forever = asyncio.Event()
    config = ProxyConfig(silence=0.2, stored_body=kept)
    async with scripted_engine(when(forever, answering(b""))) as engine, activated(config=config) as activator:
        activator.ready(engine)
        response = await ask(activator, b"x" * (2 * BLOCK))
        assert (response.status, response.error["code"]) == (502, "ReplicaLost")
        assert "sent nothing" in response.error["message"]
        assert len(engine.requests[0].body) == 2 * BLOCK
        await activator.until_inactive()


async def test_a_response_that_stalls_is_broken_off() -> None:
    forever = asyncio.Event()

    async def script(request: object, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + in_chunk(token("word")))
        await forever.wait()

    async with scripted_engine(script) as engine, activated(config=ProxyConfig(silence=0.2)) as activator:
        activator.ready(engine)
        async with connected(activator) as client:
            client.post()
            await client.head()
            assert await client.chunk() == token("word")
            assert b"ReplicaLost" in await client.chunk()
            assert await client.is_closed()
        await activator.until_inactive()


def test_no_request_may_take_longer_than_a_replica_is_waited_for() -> None:
    assert ProxyConfig().silence > max(LONGEST_REQUEST, LONGEST)


async def test_a_replica_whose_node_is_gone_is_detected(engine: ScriptedEngine) -> None:
    channel, _ = await UpstreamPool().get(("127.0.0.1", engine.port))
    sock = channel._transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    if sys.platform == "linux":
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
    channel.abort()
