"""Requests that fail on every replica: they cost a bounded amount of work, and no other client's turn."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import pytest
from support.fakes.scripted_engine import Asked, Script, ScriptedEngine, answering, cutting, echoing, scripted_engine
from support.programs.activator import Activator, Answer, activated, ask

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux can clients have addresses of their own")

POISON = b"poison"
ABORTED_BODY = json.dumps({"error": {"code": "engine_aborted", "message": "The engine gave up."}}).encode()
ABORT = json.dumps({"choices": [{"text": "", "finish_reason": "abort"}]}).encode()
HARM = {
    "503 after the work was done": answering(ABORTED_BODY, status="503 Service Unavailable"),
    "503 that isn't the guard's": answering(b"draining", status="503 Service Unavailable"),
    "503 that quotes the guard": answering(b'{"error": {"message": "draining", "code": 503}}', status="503 Busy"),
    "a broken connection": cutting(),
    "an empty abort": answering(ABORT, headers="Content-Type: application/json\r\n"),
}


def poisoned(harm: Script) -> Script:
    async def script(request: Asked, writer: asyncio.StreamWriter) -> None:
        await (harm if request.body == POISON else echoing())(request, writer)

    return script


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    async with scripted_engine() as engine:
        yield engine


@pytest.fixture
async def activator(engine: ScriptedEngine) -> AsyncIterator[Activator]:
    async with activated() as activator:
        activator.ready(engine)
        yield activator


async def honest_answers(activator: Activator, attackers: list[asyncio.Task[Answer]]) -> list[Answer]:
    """The responses to an honest client, one after the other, until the attackers have theirs."""
    answers = []
    while not all(task.done() for task in attackers):
        answers.append(await ask(activator, b"honest", source="127.0.0.2"))
    return answers


@pytest.mark.parametrize("sources", [["127.0.0.1"] * 3, ["127.0.0.3", "127.0.0.4", "127.0.0.5"]], ids=["one", "three"])
@pytest.mark.parametrize("harm", HARM.values(), ids=HARM.keys())
async def test_poisoned_requests_are_tried_three_times_each_and_take_no_turn_of_others(
    activator: Activator, engine: ScriptedEngine, harm: Script, sources: list[str]
) -> None:
    engine.script = poisoned(harm)
    attackers = [asyncio.create_task(ask(activator, POISON, source=source)) for source in sources]
    honest = await honest_answers(activator, attackers)
    assert {answer.body for answer in honest} == {b"honest"}
    assert {answer.headers["slipway-held-ms"] for answer in honest} == {"0"}  # each had its turn immediately
    assert sum(each.body == POISON for each in engine.requests) <= 9
    assert sum(each.body == b"honest" for each in engine.requests) == len(honest)
    assert {task.result().status for task in attackers} <= {502, 503}


async def test_a_poisoned_request_tries_another_replica_immediately_and_marks_neither_as_bad(
    activator: Activator, engine: ScriptedEngine
) -> None:
    harm = answering(ABORTED_BODY, status="503 Service Unavailable")
    async with scripted_engine(poisoned(harm)) as other:
        engine.script = poisoned(harm)
        activator.ready(engine, other)
        attackers = [asyncio.create_task(ask(activator, POISON)) for _ in range(3)]
        honest = await honest_answers(activator, attackers)
        assert {answer.headers["slipway-held-ms"] for answer in honest} == {"0"}
        assert sum(each.body == POISON for each in (*engine.requests, *other.requests)) <= 9
