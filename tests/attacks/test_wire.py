"""Harmful bytes that clients and pods can send, and their effects."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator

import pytest
from slipway.activator.http1.channel import MOST_UNREAD
from slipway.activator.proxy import client_connection
from slipway.activator.proxy.client_connection import ClientConnection
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.upstream_pool import MOST_AT_ONCE, UpstreamPool
from slipway.activator.shared.hold_limits import HoldLimits
from support.fakes.scripted_engine import (
    STREAM_HEAD,
    ScriptedEngine,
    answering,
    echoing,
    in_chunk,
    saying,
    scripted_engine,
    when,
)
from support.programs.activator import LLAMA, Activator, Client, activated, ask, connected

POST = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
MIB = 1 << 20
FAT_HEAD = POST + b"X: " + b"x" * 30_000 + b"\r\nContent-Length: 2\r\n\r\n{}"
BEATING = HoldLimits(timeout=20, heartbeat=0.02)
LINUX_ALONE = pytest.mark.skipif(
    "sys.platform != 'linux'", reason="the kernel must report whether the peer is connected"
)


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    async with scripted_engine(echoing()) as engine:
        yield engine


def connections(activator: Activator) -> list[ClientConnection]:
    return list(activator.listeners._listeners[LLAMA].connections)


# --- pipelining ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ahead",
    [FAT_HEAD, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"x", b"\r\n"],
    ids=["fat heads", "small requests", "nonsense", "line ends"],
)
async def test_data_pipelined_behind_a_held_request_is_neither_parsed_nor_stored(ahead: bytes) -> None:
    async with activated() as activator, connected(activator) as client:
        client.post()
        await activator.until_waiting(1)
        client.send(ahead * ((8 << 20) // len(ahead)))
        channel = connections(activator)[0].channel
        async with asyncio.timeout(10):
            while channel.parser.unparsed < MOST_UNREAD // 2:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
            assert channel.parser.unparsed <= MOST_UNREAD
        assert not channel._events


async def test_pipelined_requests_get_responses_all_the_same(engine: ScriptedEngine) -> None:
    async with activated() as activator:
        activator.ready(engine)
        async with connected(activator) as client:
            client.send(FAT_HEAD * 20)
            assert [(await client.answer()).body for _ in range(20)] == [b"{}"] * 20


@pytest.mark.parametrize("size", [33_000, 64 * 1024, 300_000])
async def test_a_connection_accepts_another_request_after_a_large_body(engine: ScriptedEngine, size: int) -> None:
    async with activated() as activator:
        activator.ready(engine)
        async with connected(activator) as client:
            for _ in range(3):
                client.post(b"x" * size)
                assert len((await client.answer()).body) == size


@LINUX_ALONE
async def test_a_client_that_disconnects_after_pipelining_is_dropped() -> None:
    async with activated() as activator:
        async with connected(activator) as client:
            client.post()
            await activator.until_waiting(1)
            client.send(FAT_HEAD * 10)
            await client.writer.drain()
        await activator.until_waiting(0)


@pytest.mark.parametrize(
    "start",
    [
        POST + CHUNKED + b"0\r\n" + b"X: y\r\n" * 102,
        POST + CHUNKED + b"0\r\nX: " + b"x" * 40_000,
        POST + CHUNKED + b"5;" + b"x" * 40_000,
        POST + CHUNKED + b"0" * 40_000,
        b"\r\n" * 20_000,
    ],
    ids=[
        "countless trailers",
        "an endless trailer",
        "an endless extension",
        "an endless size",
        "line ends",
    ],
)
async def test_every_part_of_a_request_is_bounded(start: bytes) -> None:
    async with activated() as activator, connected(activator) as client:
        client.send(start)
        refused = await client.answer()
        assert refused.status == 431
        assert refused.error["code"] == "RequestInvalid"


@pytest.mark.parametrize("start", [b"1", b"1;x", b"5\r\nab", b"0\r\nX"])
async def test_a_chunk_that_stops_halfway_times_out(start: bytes) -> None:
    config = ProxyConfig(body_timeout=0.1, linger=0.1)
    async with activated(config=config) as activator, connected(activator) as client:
        client.send(POST + CHUNKED + b"3\r\nabc\r\n" + start)
        assert (await client.answer()).status == 408


# --- only HTTP -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"SETUP / RTSP/1.0\r\nHost: a\r\n\r\n",
        b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\nHost: a\r\n\r\n",
        b"SOURCE / ICE/1.0\r\nHost: a\r\n\r\n",
        b"SOURCE / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"DESCRIBE / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_other_protocols_are_not_accepted_as_http(engine: ScriptedEngine, raw: bytes) -> None:
    async with activated() as activator:
        activator.ready(engine)
        async with connected(activator) as client:
            client.send(raw)
            refused = await client.answer()
    assert refused.status in (400, 405, 505)
    assert refused.error["code"] == "RequestInvalid"
    assert not engine.requests


async def test_a_response_in_another_protocol_counts_as_no_response() -> None:
    rtsp = saying(b"RTSP/1.0 200 OK\r\n\r\n")
    async with scripted_engine(rtsp) as engine, activated() as activator:
        activator.ready(engine)
        assert (await ask(activator)).error["code"] == "ReplicaLost"


# --- clients that half-close or disconnect ---------------------------------------------------------------------------


@LINUX_ALONE
@pytest.mark.parametrize("held", [False, True], ids=["at once", "after a wake"])
async def test_a_client_that_half_closes_gets_its_response(engine: ScriptedEngine, held: bool) -> None:
    async with activated() as activator:
        if not held:
            activator.ready(engine)
        async with connected(activator) as client:
            client.post(b"prompt")
            client.writer.write_eof()
            if held:
                await activator.until_waiting(1)
                activator.ready(engine)
            assert (await final(client)).endswith(b"prompt")


@LINUX_ALONE
async def test_an_http_1_0_client_that_half_closes_gets_a_response_that_arrives_soon(engine: ScriptedEngine) -> None:
    async with activated() as activator:
        activator.ready(engine)
        async with connected(activator) as client:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            client.writer.write_eof()
            assert (await final(client)).startswith(b"HTTP/1.1 200 ")


@LINUX_ALONE
async def test_all_requests_before_a_half_close_get_responses(engine: ScriptedEngine) -> None:
    async with activated() as activator:
        activator.ready(engine)
        async with connected(activator) as client:
            for number in range(3):
                client.post(b"prompt %d" % number)
            client.writer.write_eof()
            seen = await client.reader.read()
    assert [b"prompt %d" % number in seen for number in range(3)] == [True] * 3


async def test_an_incomplete_request_is_not_forwarded(engine: ScriptedEngine) -> None:
    async with activated() as activator:
        activator.ready(engine)
        async with connected(activator) as client:
            client.send(POST + b"Content-Length: 10\r\n\r\nabc")
            client.writer.write_eof()
            assert await final(client) == b""
    assert not engine.requests


@LINUX_ALONE
@pytest.mark.parametrize("body", [b"{}", b'{"stream": true}'])
async def test_a_held_client_that_closes_is_dropped(body: bytes) -> None:
    async with activated(limits=BEATING) as activator:
        async with connected(activator) as client:
            client.post(body)
            await activator.until_waiting(1)
        await activator.until_waiting(0)


@LINUX_ALONE
async def test_a_client_that_closes_ends_the_request_at_the_replica_before_its_first_byte() -> None:
    async with scripted_engine(when(asyncio.Event(), echoing())) as engine, activated() as activator:
        activator.ready(engine)
        async with connected(activator) as client:
            client.post()
            await engine.until_requests()
        await activator.until_inactive()


async def final(client: Client) -> bytes:
    """All received bytes, without the interim responses that only check whether the client is connected."""
    async with asyncio.timeout(10):
        seen = await client.reader.read()
    return seen.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")


# --- responses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line_end", [b"", b"\n", b"\r\n", b"\r"])
async def test_a_complete_response_inside_a_stream_stays_complete(line_end: bytes) -> None:
    complete = b'{"data": [' + line_end.join([b"1,"] * 100_000) + b"1]}"
    async with (
        scripted_engine(answering(complete)) as engine,
        activated(limits=BEATING) as activator,
        connected(activator) as client,
    ):
        client.post(b'{"stream": true}')
        await client.head()
        activator.ready(engine)
        seen = b""
        while piece := await client.chunk():
            seen += piece
    event = seen[seen.index(b"data: ") :]
    assert event.endswith(b"\n\n")
    received = b"\n".join(line.removeprefix(b"data: ") for line in event[:-2].split(b"\n"))
    assert json.loads(received) == json.loads(complete)


async def test_an_answer_that_ends_with_a_broken_connection_is_not_complete() -> None:
    async def script(request: object, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await writer.drain()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        writer.transport.abort()

    async with scripted_engine(script) as engine, activated() as activator:
        activator.ready(engine)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ValueError)):
            await ask(activator)


async def test_endless_interim_responses_are_not_a_response() -> None:
    async def script(request: object, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n" * 20_000)

    async with scripted_engine(script) as engine, activated() as activator:
        activator.ready(engine)
        assert (await ask(activator)).error["code"] == "ReplicaLost"


async def test_little_of_an_endless_response_is_buffered_before_it_is_passed_on() -> None:
    async with scripted_engine(saying(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(4 * MIB))) as engine:
        pool = UpstreamPool()
        channel, _ = await pool.get(("127.0.0.1", engine.port))
        channel.write(POST + b"Content-Length: 0\r\n\r\n")
        async with asyncio.timeout(10):
            while channel.parser.unparsed < MOST_AT_ONCE:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert channel.parser.unparsed < 2 * MOST_AT_ONCE
        channel.abort()


async def test_a_response_in_very_small_pieces_arrives_complete() -> None:
    events = b'data: {"choices": [{"delta": {}}]}\n\n' * 300
    response = STREAM_HEAD + b"".join(in_chunk(events[at : at + 1]) for at in range(len(events))) + b"0\r\n\r\n"
    async with scripted_engine(saying(response)) as engine, activated() as activator:
        activator.ready(engine)
        assert (await ask(activator)).body == events


# --- refusals --------------------------------------------------------------------------------------------------------

LARGE = 8 << 20  # more than the kernel buffers for us
REFUSED = {
    "too large": ("/v1/completions", {}, 413),
    "a header that is too large": ("/v1/completions", {"Cookie": "c" * 40_000}, 431),
    "a URL that is too long": ("/v1/" + "x" * 9000, {}, 414),
}


def sends_all_before_it_listens(port: int, path: str = "/v1/completions", headers: dict[str, str] | None = None) -> int:
    """As most clients do."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", path, body=bytes(LARGE), headers=headers or {})
    return connection.getresponse().status


@pytest.mark.parametrize(("path", "headers", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_client_that_sends_everything_before_it_reads_gets_the_refusal(
    path: str, headers: dict[str, str], status: int
) -> None:
    async with activated(config=ProxyConfig(largest_body=MIB)) as activator:
        port = await activator.port()
        assert await asyncio.to_thread(sends_all_before_it_listens, port, path, headers) == status


async def test_a_client_refused_for_too_many_connections_gets_503_even_if_it_sends_much() -> None:
    async with activated(config=ProxyConfig(connections_per_port=1)) as activator, connected(activator) as only:
        only.post()
        await activator.until_waiting(1)
        assert await asyncio.to_thread(sends_all_before_it_listens, await activator.port()) == 503


async def test_only_a_few_refused_connections_are_drained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_connection, "MOST_TURNED_AWAY", 2)
    config = ProxyConfig(connections_per_port=1, linger=60)
    async with activated(config=config) as activator, connected(activator) as only:
        only.post()
        await activator.until_waiting(1)
        refused = [await _from(f"127.0.1.{number}", activator) for number in range(1, 6)]
        assert {(await each.answer()).status for each in refused} == {503}
        async with asyncio.timeout(10):
            while len(connections(activator)) != 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for each in refused:
            each.close()


async def test_a_client_that_waits_for_the_end_of_a_refusal_does_not_wait_long() -> None:
    async with activated(config=ProxyConfig(linger=60)) as activator, connected(activator) as client:
        client.send(b"nonsense\r\n\r\n")
        async with asyncio.timeout(5):
            assert b"RequestInvalid" in await client.reader.read()


# --- connections -----------------------------------------------------------------------------------------------------


async def test_silent_connections_of_one_address_do_not_keep_out_another(engine: ScriptedEngine) -> None:
    config = ProxyConfig(connections_per_port=8)
    async with activated(config=config) as activator:
        activator.ready(engine)
        silent = [await _from("127.0.0.2", activator) for _ in range(30)]
        client = await _from("127.0.0.3", activator)
        client.post()
        assert (await client.answer()).status == 200
        assert await silent[0].is_closed()
        for each in (*silent, client):
            each.close()


async def test_silent_connections_of_many_addresses_do_not_keep_out_another(engine: ScriptedEngine) -> None:
    async with activated(config=ProxyConfig(connections_per_port=8)) as activator:
        activator.ready(engine)
        silent = [await _from(f"127.0.1.{number}", activator) for number in range(1, 31)]
        assert (await ask(activator)).status == 200
        for each in silent:
            each.close()


async def test_one_address_cannot_take_all_connections_with_requests(engine: ScriptedEngine) -> None:
    async with activated(config=ProxyConfig(connections_per_port=8)) as activator:
        greedy = []
        for number in range(6):
            greedy.append(await _from("127.0.0.2", activator))
            greedy[-1].post()
            await activator.until_waiting(number + 1)
        another = await _from("127.0.0.2", activator)
        another.post()
        assert (await another.answer()).error["code"] == "TooManyConnections"
        activator.ready(engine)
        assert (await ask(activator)).status == 200
        for each in (*greedy, another):
            each.close()


async def test_all_ports_together_have_a_limit_too(engine: ScriptedEngine) -> None:
    async with activated(config=ProxyConfig(connections=2)) as activator:
        silent = [await _from("127.0.0.2", activator) for _ in range(4)]
        activator.ready(engine)
        assert (await ask(activator)).status == 200
        assert await silent[0].is_closed()
        for each in silent:
            each.close()


async def _from(address: str, activator: Activator) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", await activator.port(), local_addr=(address, 0)))
