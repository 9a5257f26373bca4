"""Bytes that clients send to an engine's web server must not use up its memory, file descriptors or time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from slipway_runtime.engines import connection
from slipway_runtime.engines.connection import AT_ONCE, LONGEST_HEAD, MOST_HEADERS, MOST_QUEUED
from support.programs.front_end import Client, FrontEnd, front_end

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
LONG = b"x" * LONGEST_HEAD
HALF = LONG[: LONGEST_HEAD // 2]
CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture
async def front(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FrontEnd]:
    async with front_end(monkeypatch) as front:
        front.engine.may_answer.set()
        yield front


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """All timeouts are short."""
    for name in ("HEAD_TAKES", "BODY_PAUSES", "READING_PAUSES", "GOODBYE", "BETWEEN_LOOKS"):
        monkeypatch.setattr(connection, name, 0.1)


def code_of(answer: bytes) -> tuple[int, str]:
    """Status and error code of the last response in these bytes."""
    head, _, body = answer[answer.rindex(b"HTTP/1.1") :].partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["error"]["code"]


# --- bytes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + LONG + b" HTTP/1.1\r\n\r\n",
        b"GET /" + LONG * 2,
        b"GET / HTTP/1.1\r\nx: " + LONG + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + LONG * 2,
        b"GET / HTTP/1.1\r\n" + LONG * 2,
        b"GET / HTTP/1.1\r\n"
        + b"x: "
        + LONG[: LONGEST_HEAD // 2]
        + b"\r\ny: "
        + LONG[: LONGEST_HEAD // 2]
        + b"\r\n\r\n",
        CHUNKED + b"1\r\na\r\n0\r\nx: " + LONG * 2,
        CHUNKED + b"1\r\na\r\n0\r\nx: " + LONG + b"\r\n\r\n",
        CHUNKED + b"1;" + LONG * 2,
        b"\r\n" * LONGEST_HEAD,
    ],
    ids=[
        *("url", "endless url", "header", "endless header", "endless name", "two headers"),
        *("endless trailer", "trailer", "endless extension", "empty lines"),
    ],
)
async def test_a_head_that_is_too_long_is_refused_whichever_part_is_long(front: FrontEnd, head: bytes) -> None:
    client = await front.client()
    client.write(head)
    assert code_of(await client.read_all()) == (431, "head_too_long")


@pytest.mark.usefixtures("hurried")
async def test_a_client_that_goes_on_sending_a_refused_head_is_disconnected(front: FrontEnd) -> None:
    client = await front.client()
    client.write(b"GET / HTTP/1.1\r\nx: ")
    with pytest.raises(ConnectionError):
        await client.send_repeatedly(b"x" * AT_ONCE, times=1 << 30)


async def test_many_small_headers_are_refused_too(front: FrontEnd) -> None:
    client = await front.client()
    client.write(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (MOST_HEADERS + 1) + b"\r\n")
    assert code_of(await client.read_all()) == (431, "too_many_headers")


async def test_a_head_of_the_allowed_size_is_served_even_if_it_arrives_in_pieces(front: FrontEnd) -> None:
    client = await front.client()
    line, end = b"GET /whole HTTP/1.1\r\nx: ", b"\r\n\r\n"
    head = line + b"x" * (LONGEST_HEAD - len(line + end) - 100) + end
    for start in range(0, len(head), 1000):
        await client.send(head[start : start + 1000])
    assert (await client.read_until(b"/whole 0")).startswith(b"HTTP/1.1 200")


async def test_the_limit_for_heads_does_not_apply_to_bodies(front: FrontEnd) -> None:
    """Two bodies on one connection, each many times as long as a head may be."""
    client = await front.client()
    body = b"x" * (8 * LONGEST_HEAD)
    for _ in range(2):
        client.write(b"POST /long HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        assert (await client.read_until(b"/long %d" % len(body))).startswith(b"HTTP/1.1 200")
    for _ in range(2):
        client.write(CHUNKED + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        assert (await client.read_until(b"/ %d" % len(body))).startswith(b"HTTP/1.1 200")


async def test_trailers_are_not_headers(front: FrontEnd) -> None:
    client = await front.client()
    client.write(CHUNKED + b"1\r\na\r\n0\r\nauthorization: Bearer x\r\n\r\n")
    await client.read_until(b"/ 1")
    assert dict(front.engine.headers).keys() == {b"host", b"transfer-encoding"}


# --- pipelined requests ----------------------------------------------------------------------------------------------


async def test_pipelined_requests_are_limited_and_those_before_the_limit_get_responses(
    front: FrontEnd,
) -> None:
    front.engine.may_answer.clear()
    client = await front.client()
    client.write(GET * 10_000)
    await front.engine.called.wait()
    front.engine.may_answer.set()
    received = await client.read_all()
    assert received.count(b"HTTP/1.1 200") == 1 + MOST_QUEUED
    assert code_of(received) == (429, "too_many_pipelined")


async def test_behind_a_waiting_request_nothing_is_read_however_often_the_engine_calls_receive(
    front: FrontEnd,
) -> None:
    """As vLLM does to notice a disconnect. Requests that have not been read yet don't count towards the limit."""
    front.engine.polls_for_disconnect = True
    client = await front.client()
    head = b"GET /long HTTP/1.1\r\nx: " + b"x" * (60 << 10) + b"\r\n\r\n"
    sending = asyncio.create_task(client.send(head * 40 + b"GET /last HTTP/1.1\r\n\r\n"))
    received = await client.read_until(b"/last 0")
    assert received.count(b"HTTP/1.1 200") == 41
    await sending


async def test_pipelined_requests_get_their_responses_in_order(front: FrontEnd) -> None:
    client = await front.client()
    client.write(b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(MOST_QUEUED)))
    received = await client.read_until(b"/%d 0" % (MOST_QUEUED - 1))
    assert front.engine.paths == [f"/{number}" for number in range(MOST_QUEUED)]
    assert received.count(b"HTTP/1.1 200") == MOST_QUEUED


@pytest.mark.parametrize("behind", [b"NONSENSE\r\n\r\n", CHUNKED + b"zz\r\n"])
async def test_malformed_data_behind_a_request_is_refused_after_its_response(front: FrontEnd, behind: bytes) -> None:
    front.engine.may_answer.clear()
    client = await front.client()
    client.write(GET + GET + behind)
    await front.engine.called.wait()
    front.engine.may_answer.set()
    received = await client.read_all()
    assert received.count(b"HTTP/1.1 200") == 2
    assert received.index(b"200 OK") < received.index(b"400 Bad Request")
    assert code_of(received) == (400, "malformed_request")


@pytest.mark.parametrize("more", [b"", b"expect: 100-continue\r\n"], ids=["immediately", "after 100-continue"])
async def test_a_body_that_becomes_malformed_is_refused(
    front: FrontEnd, more: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    client = await front.client()
    client.write(CHUNKED.removesuffix(b"\r\n") + more + b"\r\nzz\r\n")
    assert code_of(await client.read_all()) == (400, "malformed_request")
    assert caplog.records == []


async def test_a_body_that_the_engine_does_not_read_is_not_buffered(front: FrontEnd) -> None:
    front.engine.reads = False
    front.engine.may_answer.clear()
    client = await front.client()
    client.write(b"POST / HTTP/1.1\r\ncontent-length: 100000000\r\n\r\n")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await client.send(b"x" * 100_000_000)


# --- timeouts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start", [b"GET / HT", b"POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\nabc", CHUNKED + b"3\r\nabc\r\n0\r\nx: "]
)
@pytest.mark.usefixtures("hurried")
async def test_a_request_that_does_not_arrive_in_time_is_refused(front: FrontEnd, start: bytes) -> None:
    client = await front.client()
    client.write(start)
    assert code_of(await client.read_all()) == (408, "request_too_slow")


@pytest.mark.usefixtures("hurried")
async def test_the_timeout_of_a_head_is_for_all_of_it_even_if_bytes_keep_arriving(front: FrontEnd) -> None:
    client = await front.client()
    client.write(GET)
    await client.read_until(b"/ 0")
    client.write(b"GET / HTTP/1.1\r\nx: ")
    dripping = asyncio.create_task(drip(client, b"x"))
    assert code_of(await client.read_all()) == (408, "request_too_slow")
    dripping.cancel()


@pytest.mark.usefixtures("hurried")
async def test_a_silent_client_is_disconnected(front: FrontEnd) -> None:
    client = await front.client()
    assert await client.read_all() == b""


@pytest.mark.usefixtures("hurried")
async def test_empty_lines_do_not_keep_an_idle_connection_alive(
    front: FrontEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection.Connection, "timeout_keep_alive", property(lambda _: 0.1, lambda *_: None), False)
    client = await front.client()
    client.write(GET)
    await client.read_until(b"/ 0")
    dripping = asyncio.create_task(drip(client, b"\r\n"))
    assert await client.read_all() == b""
    dripping.cancel()


@pytest.mark.usefixtures("hurried")
async def test_a_request_in_time_is_not_cut_off_by_an_earlier_keep_alive_timer(
    front: FrontEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection.Connection, "timeout_keep_alive", property(lambda _: 0.1, lambda *_: None), False)
    client = await front.client()
    client.write(GET)
    await client.read_until(b"/ 0")
    front.engine.may_answer.clear()
    client.write(b"GET /second HTTP/1.1\r\n\r\n")
    assert await (await front.client()).read_all() == b""  # meanwhile, the first one was checked, too
    front.engine.may_answer.set()
    assert (await client.read_until(b"/second 0")).startswith(b"HTTP/1.1 200")


@pytest.mark.usefixtures("hurried")
async def test_a_body_that_is_no_longer_needed_does_not_keep_a_connection_open(front: FrontEnd) -> None:
    front.engine.reads = False
    client = await front.client()
    client.write(b"POST / HTTP/1.1\r\ncontent-length: 100000\r\n\r\n")
    await client.read_until(b"/ 0")
    dripping = asyncio.create_task(drip(client, b"x"))
    assert await client.read_all() == b""
    dripping.cancel()


@pytest.mark.usefixtures("hurried")
async def test_a_slow_response_is_not_cut_off(front: FrontEnd) -> None:
    front.engine.may_answer.clear()
    client = await front.client()
    client.write(GET)
    await front.engine.called.wait()
    late = await front.client()
    assert await late.read_all() == b""  # meanwhile, the first one was checked, too
    front.engine.may_answer.set()
    assert (await client.read_until(b"/ 0")).startswith(b"HTTP/1.1 200")


@pytest.mark.usefixtures("hurried")
async def test_a_client_that_reads_nothing_of_its_response_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    left = asyncio.Event()

    async def talk(_: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        for _piece in range(1000):
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})  # type: ignore[operator]
        left.set()

    async with front_end(monkeypatch, talk) as front:
        client = await front.client()
        client.write(GET)
        async with asyncio.timeout(60):
            await left.wait()  # uvicorn drops data for a closed connection


async def drip(client: Client, data: bytes) -> None:
    while True:
        client.write(data)
        await asyncio.sleep(0.01)


# --- connections -----------------------------------------------------------------------------------------------------


async def response_to(front: FrontEnd, address: str) -> bytes:
    client = await front.client(address)
    client.write(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
    return await client.read_all()


@pytest.mark.parametrize("addresses", [["127.0.0.2"], [f"127.0.0.{number}" for number in range(2, 8)]])
async def test_silent_connections_do_not_keep_out_other_clients(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    async with front_end(monkeypatch, most=20) as front:
        front.engine.may_answer.set()
        for number in range(60):
            await front.client(addresses[number % len(addresses)])
        assert (await response_to(front, "127.0.0.8")).startswith(b"HTTP/1.1 200")
        assert len(front.crowd) <= 20


async def test_an_address_beyond_its_share_loses_its_oldest_silent_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with front_end(monkeypatch, most=20) as front:
        front.engine.may_answer.set()
        other = await front.client("127.0.0.3")
        oldest = await front.client("127.0.0.2")
        for _ in range(front.crowd.share):
            await front.client("127.0.0.2")
        assert await oldest.read_all() == b""
        other.write(GET)
        assert (await other.read_until(b"/ 0")).startswith(b"HTTP/1.1 200")


async def test_while_all_connections_are_busy_the_next_gets_503_with_retry_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with front_end(monkeypatch, most=20) as front:
        for number in range(20):
            client = await front.client(f"127.0.0.{2 + number % 4}")
            client.write(GET)
        async with asyncio.timeout(60):
            while len(front.engine.paths) < 20:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.01)
        received = await (await front.client("127.0.0.7")).read_all()
        assert code_of(received) == (503, "too_many_connections")
        assert b"retry-after: 1" in received
        front.engine.may_answer.set()
        assert (await response_to(front, "127.0.0.9")).startswith(b"HTTP/1.1 200")  # a client in the pod itself


async def test_a_closed_connection_frees_its_slot(front: FrontEnd) -> None:
    assert (await response_to(front, "127.0.0.1")).startswith(b"HTTP/1.1 200")
    async with asyncio.timeout(60):
        while len(front.crowd):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
