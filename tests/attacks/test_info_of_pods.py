"""What a pod can respond when the operator reads what its engine has measured: a bounded response, in time, or none."""

from __future__ import annotations

import asyncio
import json

import pytest
from slipway.observing.measured import Reading, reading_of
from slipway.operator.reconciling.pod_info import LARGEST, get_info
from support.fakes.scripted_engine import (
    Asked,
    Script,
    ScriptedEngine,
    answer,
    answering,
    cutting,
    scripted_engine,
)

INFO = json.dumps({"measured": {"kvTokens": 7}}).encode()


async def said_by(script: Script, *, within: float = 5.0) -> tuple[bytes | None, ScriptedEngine]:
    async with scripted_engine(script) as engine:
        return await get_info("127.0.0.1", port=engine.port, within=within), engine


async def test_a_response_is_taken_up_to_the_end_of_the_connection() -> None:
    said, engine = await said_by(cutting(answer(INFO)))
    assert said == INFO
    assert engine.requests[0].first_line == "GET /info HTTP/1.0"


async def test_the_request_carries_no_data_of_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    _, engine = await said_by(cutting(answer(INFO)))
    assert engine.requests[0].headers == [("host", "127.0.0.1")]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 5000,
        b"HTTP/2 200 OK\r\n\r\n" + INFO,
        b"\xff" * 1000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,
        answer(b" " * LARGEST + INFO),
        answer(INFO, status="302 Found", headers="Location: http://169.254.169.254/\r\n"),
        answer(INFO, status="500 Error"),
    ],
    ids=["nothing", "no head", "half", "interim", "HTTP/2", "garbage", "headers", "too much", "redirect", "error"],
)
async def test_anything_else_is_no_response(nonsense: bytes) -> None:
    said, engine = await said_by(cutting(nonsense))
    assert said is None
    assert len(engine.requests) == 1


async def test_a_pod_that_sends_without_end_is_cut_off_after_a_bounded_number_of_bytes() -> None:
    sent = 0

    async def script(_: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    said, _ = await said_by(script)
    assert said is None
    assert sent < 64 * LARGEST  # most of it is in the kernel's buffers


@pytest.mark.parametrize("script", [answering(INFO), cutting()], ids=["does not end", "says nothing"])
async def test_a_pod_that_does_not_end_in_time_has_no_response(script: Script) -> None:
    said, _ = await said_by(script, within=0.3)
    assert said is None


async def test_a_pod_that_does_not_listen_has_no_response() -> None:
    async with scripted_engine() as engine:
        pass
    assert await get_info("127.0.0.1", port=engine.port) is None


async def test_what_is_chunked_or_encoded_is_no_reading() -> None:
    said, _ = await said_by(cutting(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n0\r\n\r\n"))
    assert said is not None
    assert reading_of(said) is None
    assert reading_of(INFO) == Reading(kv_tokens=7)
