"""What is forwarded from clients to replicas and back, over real connections."""

import asyncio

import pytest
from slipway.activator.http1.channel import Channel, ClientChannel
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.shared.hold_limits import HoldLimits
from support.fakes.scripted_engine import (
    STREAM_HEAD,
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

# --- requests --------------------------------------------------------------------------------------------------------


async def test_a_request_arrives_as_it_was_sent(activator: Activator, engine: ScriptedEngine) -> None:
    async with connected(activator) as client:
        client.post(
            b'{"prompt": 1}', path="/v1/completions?a=%20b", headers="X-Odd: \xc3\xa4 b\r\nAuthorization: k\r\n"
        )
        await client.answer()
    request = engine.requests[0]
    assert (request.first_line, request.body) == ("POST /v1/completions?a=%20b HTTP/1.1", b'{"prompt": 1}')
    assert [request.header(name) for name in ("host", "authorization")] == ["llama", "k"]
    assert request.header("x-odd")


async def test_a_head_is_sent_together_with_what_follows_it(
    activator: Activator, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    write = Channel.write

    def recording_write(channel: ClientChannel, data: bytes) -> None:
        written.append(data)
        write(channel, data)

    monkeypatch.setattr(Channel, "write", recording_write)
    response_body = b'{"choices": [{"text": "hi", "finish_reason": "stop"}]}'
    engine.script = answering(response_body, headers="Content-Type: application/json\r\n")
    await ask(activator, b'{"prompt": 1}')
    assert [each.rpartition(b"\r\n")[2][:10] for each in written] == [b'{"prompt":', b'{"choices"']


async def test_traces_and_request_ids_are_forwarded(activator: Activator, engine: ScriptedEngine) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    response = await ask(activator, headers=f"traceparent: {trace}\r\ntracestate: a=b\r\nX-Request-Id: 7\r\n")
    request = engine.requests[0]
    assert [request.header(name) for name in ("traceparent", "tracestate", "x-request-id")] == [trace, "a=b", "7"]
    assert response.headers["x-request-id"] == "7"


async def test_hop_by_hop_headers_are_not_forwarded(activator: Activator, engine: ScriptedEngine) -> None:
    engine.script = answering(b"", headers="Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\n")
    headers = "Connection: X-Private, keep-alive\r\nX-Private: 1\r\nTE: trailers\r\nProxy-Authorization: no\r\n"
    response = await ask(activator, headers=headers)
    passed = {name for name, _ in engine.requests[0].headers}
    assert not passed & {"x-private", "te", "proxy-authorization", "connection"}
    assert not set(response.headers) & {"x-mine", "keep-alive", "connection"}


async def test_no_header_can_remove_the_length_or_the_host(activator: Activator, engine: ScriptedEngine) -> None:
    await ask(activator, b"abc", headers="Connection: Content-Length, Host\r\n")
    assert (engine.requests[0].body, engine.requests[0].header("host")) == (b"abc", "llama")


async def test_a_chunked_body_arrives_complete(activator: Activator, engine: ScriptedEngine) -> None:
    async with connected(activator) as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: llama\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
        )
        await client.answer()
    assert engine.requests[0].body == b"abcde"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_to_store_is_streamed(chunked: bool) -> None:
    body = bytes(range(256)) * 4096
    async with scripted_engine(echoing()) as engine, activated(config=ProxyConfig(stored_body=1000)) as activator:
        activator.ready(engine)
        async with connected(activator) as client:
            if chunked:
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                for start in range(0, len(body), 65536):
                    client.send(in_chunk(body[start : start + 65536]))
                client.send(b"0\r\n\r\n")
            else:
                client.post(body)
            assert (await client.answer()).body == body


async def test_a_client_that_expects_100_continue_receives_it(activator: Activator, engine: ScriptedEngine) -> None:
    async with connected(activator) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.head()).status == 100
        client.send(b"abc")
        assert (await client.answer()).status == 200
    assert (engine.requests[0].body, engine.requests[0].header("expect")) == (b"abc", None)


async def test_an_upgrade_request_gets_a_response_without_the_upgrade(
    activator: Activator, engine: ScriptedEngine
) -> None:
    upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
    async with connected(activator) as client:
        for body in (b"one", b"two"):
            client.post(body, headers=upgrade)
            assert (await client.answer()).status == 200
    assert [request.body for request in engine.requests] == [b"one", b"two"]
    assert engine.requests[0].header("upgrade") is None


async def test_requests_of_one_connection_are_answered_one_after_the_other(
    activator: Activator, engine: ScriptedEngine
) -> None:
    engine.script = echoing()
    async with connected(activator) as client:
        for number in range(20):
            client.post(b"%d" % number)
        assert [(await client.answer()).body for _ in range(20)] == [b"%d" % number for number in range(20)]
    assert engine.most_running == 1


async def test_connections_to_a_replica_are_reused(activator: Activator, engine: ScriptedEngine) -> None:
    for _ in range(5):
        await ask(activator)
    assert engine.connections == 1


async def test_connections_to_a_replica_that_is_no_longer_ready_are_closed(
    activator: Activator, engine: ScriptedEngine
) -> None:
    await ask(activator)
    activator.ready()
    async with asyncio.timeout(10):
        await engine.until_client_left()


async def test_an_absolute_url_is_requested_from_the_replica_and_from_no_other_host(
    activator: Activator, engine: ScriptedEngine
) -> None:
    async with connected(activator) as client:
        client.send(b"GET http://elsewhere.example:81/x?y HTTP/1.1\r\nHost: llama\r\n\r\n")
        assert (await client.answer()).status == 200
    assert engine.requests[0].first_line == "GET /x?y HTTP/1.1"
    assert engine.requests[0].header("host") == "elsewhere.example:81"


# --- responses -------------------------------------------------------------------------------------------------------


async def test_a_response_arrives_as_it_was_sent(activator: Activator, engine: ScriptedEngine) -> None:
    engine.script = answering(b"no such model", status="404 Not Here", headers="X-Two: 1\r\n")
    response = await ask(activator)
    assert (response.status, response.body, response.headers["x-two"]) == (404, b"no such model", "1")


async def test_a_chunked_response_arrives_complete_and_with_its_trailers(
    activator: Activator, engine: ScriptedEngine
) -> None:
    engine.script = saying(
        b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\nAuthorization: 9\r\n\r\n"
    )
    response = await ask(activator)
    assert (response.body, response.trailers) == (b"abcde", {"x-sum": "5"})


async def test_no_key_is_forwarded_in_a_trailer(activator: Activator, engine: ScriptedEngine) -> None:
    """A replica's server may treat trailers as headers."""
    keys = b"Authorization: Bearer k\r\nX-Api-Key: k\r\nApi-Key: k\r\nCookie: k\r\n"
    async with connected(activator) as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 5\r\n" + keys + b"\r\n"
        )
        await client.answer()
    assert engine.requests[0].trailers == [("x-sum", "5")]


async def test_a_response_that_ends_with_its_connection_arrives_complete(
    activator: Activator, engine: ScriptedEngine
) -> None:
    engine.script = cutting(b"HTTP/1.1 200 OK\r\n\r\nabcde")
    response = await ask(activator)
    assert (response.body, response.headers["transfer-encoding"]) == (b"abcde", "chunked")


async def test_an_http_1_0_client_gets_no_chunks(activator: Activator, engine: ScriptedEngine) -> None:
    engine.script = saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    async with connected(activator) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        response = await client.answer()
    assert response.body == b"abc"
    assert "transfer-encoding" not in response.headers


async def test_a_head_request_gets_a_length_and_no_body(activator: Activator, engine: ScriptedEngine) -> None:
    engine.script = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
    async with connected(activator) as client:
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.head()).headers["content-length"] == "7"
        engine.script = answering(b"next")
        client.post()
        assert (await client.answer()).body == b"next"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_a_response_without_a_body_ends_with_its_head(
    activator: Activator, engine: ScriptedEngine, status: str
) -> None:
    engine.script = in_turn(saying(f"HTTP/1.1 {status}\r\n\r\n".encode()), answering(b"next"))
    async with connected(activator) as client:
        client.post()
        assert (await client.head()).status == int(status[:3])
        client.post()
        assert (await client.answer()).body == b"next"


async def test_interim_responses_are_dropped(activator: Activator, engine: ScriptedEngine) -> None:
    engine.script = saying(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(b"abc"))
    assert (await ask(activator)).body == b"abc"


async def test_each_event_of_a_stream_arrives_before_the_next_is_generated(
    activator: Activator, engine: ScriptedEngine
) -> None:
    steps = [asyncio.Event() for _ in range(3)]

    async def script(request: object, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        for number, step in enumerate(steps):
            writer.write(in_chunk(token(str(number))))
            await step.wait()
        writer.write(b"0\r\n\r\n")

    engine.script = script
    async with connected(activator) as client:
        client.post(b'{"stream": true}')
        assert (await client.head()).headers["content-type"] == "text/event-stream"
        for number, step in enumerate(steps):
            assert await client.chunk() == token(str(number))
            step.set()
        assert await client.chunk() == b""


async def test_a_slow_reader_slows_the_engine_instead_of_filling_memory(
    activator: Activator, engine: ScriptedEngine
) -> None:
    piece = in_chunk(token("x" * 65536))
    total, written, stalled = 2000, 0, asyncio.Event()

    async def script(request: object, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(STREAM_HEAD)
        for _ in range(total):
            writer.write(piece)
            written += 1
            try:
                await asyncio.wait_for(writer.drain(), 0.5)
            except TimeoutError:
                stalled.set()
                await writer.drain()
        writer.write(b"0\r\n\r\n")

    engine.script = script
    async with connected(activator) as client:
        client.post(b'{"stream": true}')
        await asyncio.wait_for(stalled.wait(), 20)
        assert written < total / 4  # what is in the sockets' own buffers, and little of it here
        await client.head()
        remaining = total * len(token("x" * 65536))
        while remaining:
            remaining -= len(await client.chunk())
        assert await client.chunk() == b""


async def test_a_client_that_leaves_ends_the_work_for_it(activator: Activator, engine: ScriptedEngine) -> None:
    broken = asyncio.Event()

    async def script(request: object, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + in_chunk(token("a")))
        try:
            while True:
                writer.write(in_chunk(token("b")))
                await writer.drain()
                await asyncio.sleep(0.01)
        except (ConnectionError, RuntimeError):  # the second is uvloop's, when it has closed the connection already
            broken.set()
            raise ConnectionResetError from None

    engine.script = script
    async with connected(activator) as client:
        client.post()
        await client.head()
    await asyncio.wait_for(broken.wait(), 10)
    await activator.until_inactive()


# --- many ------------------------------------------------------------------------------------------------------------


async def test_a_replica_never_has_more_requests_than_its_limit() -> None:
    released = asyncio.Event()
    async with (
        scripted_engine(when(released, echoing())) as engine,
        activated(limits=HoldLimits(timeout=20)) as activator,
    ):
        activator.ready(engine, at_a_time=3)
        tasks = [asyncio.create_task(ask(activator, b"%d" % number)) for number in range(12)]
        await activator.until_waiting(9)
        await engine.until_requests(3)
        released.set()
        answers = [response.body for response in await asyncio.gather(*tasks)]
    assert answers == [b"%d" % number for number in range(12)]
    assert engine.most_running == 3


async def test_requests_are_spread_over_the_replicas() -> None:
    released = asyncio.Event()
    script = when(released, echoing())
    async with scripted_engine(script) as one, scripted_engine(script) as two, activated() as activator:
        activator.ready(one, two)
        tasks = [asyncio.create_task(ask(activator)) for _ in range(8)]
        await one.until_requests(4)
        await two.until_requests(4)
        released.set()
        await asyncio.gather(*tasks)
