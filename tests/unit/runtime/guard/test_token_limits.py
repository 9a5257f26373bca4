"""Tokens per minute of a key: when they are taken, and what is reported of those that are left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from slipway_runtime.guard.asgi import Guard
from slipway_runtime.guard.exchange import App
from slipway_runtime.guard.gate import SYNC_EVERY, Gate
from support.programs.guard import answering, ask, chunk, guarding, nothing, streaming, tokens, waiting


@contextmanager
def limited(folder: Path, per_minute: int, clock: Callable[[], float] = lambda: 1.0) -> Iterator[Gate]:
    harness = guarding(folder, clock, tokens_per_minute_per_key=per_minute)
    yield harness.gate
    harness.close()


async def tokens_left(gate: Gate) -> int:
    answer = await ask(Guard(answering(b"{}", status=400), gate))
    return int(answer.headers["x-ratelimit-remaining-tokens"])


USED_30 = b'{"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":10}}'
WITHOUT_USAGE = (chunk(text="a"), chunk(text="b"), chunk(text="c"), b"data: [DONE]\n\n")  # 4 events, 2 of them tokens


@pytest.mark.parametrize(
    ("app", "used"),
    [
        pytest.param(answering(USED_30), 30, id="a response that reports its usage"),
        pytest.param(
            streaming(*WITHOUT_USAGE[:3], b"data: " + USED_30 + b"\n\n"),
            30,
            id="a stream that reports its usage at its end",
        ),
        pytest.param(
            streaming(*WITHOUT_USAGE), 2 + 40 // 4, id="a stream that doesn't: its events, and its prompt's bytes"
        ),
        pytest.param(answering(b"{}", status=400), 0, id="an error, which used nothing"),
    ],
)
async def test_tokens_are_taken_as_they_are_used(tmp_path: Path, app: App, used: int) -> None:
    with limited(tmp_path, 600) as gate:
        first = await ask(Guard(app, gate), body=[b"x" * 40])
        assert first.headers["x-ratelimit-limit-tokens"] == "600"
        assert await tokens_left(gate) == 600 - used


async def test_a_stream_pays_while_it_runs(tmp_path: Path) -> None:
    with limited(tmp_path, 600) as gate:
        started = asyncio.Event()
        stream = asyncio.create_task(ask(Guard(waiting(started, *tokens("abcdefgh")), gate)))
        await started.wait()
        await asyncio.sleep(3 * SYNC_EVERY)  # of one event loop, so that a sync happens before this is over
        assert await tokens_left(gate) == 600 - 6  # the first two events may not be tokens
        stream.cancel()
        await asyncio.wait([stream])


async def test_a_client_without_tokens_for_this_minute_learns_when_there_are_more(tmp_path: Path) -> None:
    now = [0.0]
    with limited(tmp_path, 10, lambda: now[0]) as gate:
        assert (await ask(Guard(answering(USED_30), gate))).status == 200  # of which 20 are owed
        refused = await ask(Guard(nothing, gate))
        assert (refused.status, refused.error) == (429, "token_limit_exceeded")
        assert (refused.headers["retry-after"], refused.headers["x-ratelimit-remaining-tokens"]) == ("126", "0")
        assert b"10 tokens per minute" in refused.body
        now[0] = 126.0
        assert (await ask(Guard(answering(b"{}"), gate))).status == 200
