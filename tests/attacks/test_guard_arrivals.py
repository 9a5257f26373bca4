"""Heads whose bodies don't arrive, and one key that would take all slots: neither keeps others out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from slipway_runtime.control import GuardMode
from slipway_runtime.guard.asgi import Guard
from slipway_runtime.guard.exchange import Message
from slipway_runtime.guard.gate import LEAST_ARRIVING
from support.programs.guard import (
    CHAT,
    KEY,
    Answer,
    MakeGuard,
    answering,
    ask,
    keys_in,
    nothing,
    scope_of,
    several,
    waiting,
)

ALICE = ("Authorization", f"Bearer {KEY}")
BOB = ("Authorization", "Bearer a-key-of-bob")


@pytest.fixture
def make_guard(tmp_path: Path) -> Iterator[MakeGuard]:
    with several(tmp_path) as make_guard:
        yield make_guard


class Sender:
    """A client that sends its head, and its body when the test says so."""

    def __init__(self, guard: Guard, *headers: tuple[str, str], address: str = "10.0.0.1") -> None:
        self.answer = Answer()
        self._body = asyncio.Event()
        scope = scope_of(CHAT, headers=[*headers, ("content-length", "2")])
        self.task = asyncio.create_task(guard({**scope, "client": (address, 1)}, self._receive, self._send))

    async def ends(self) -> Answer:
        self._body.set()
        async with asyncio.timeout(10):
            await self.task
        return self.answer

    async def _receive(self) -> Message:
        await self._body.wait()
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def _send(self, message: Message) -> None:
        self.answer.messages.append(message)


@asynccontextmanager
async def senders(guard: Guard, number: int, *headers: tuple[str, str]) -> AsyncIterator[list[Sender]]:
    them = [Sender(guard, *headers) for _ in range(number)]
    await asyncio.sleep(0)
    yield them
    for each in them:
        each.task.cancel()
    await asyncio.gather(*(each.task for each in them), return_exceptions=True)


@asynccontextmanager
async def in_flight(
    guard: Guard, started: asyncio.Event, number: int, *headers: tuple[str, str]
) -> AsyncIterator[None]:
    them = [asyncio.create_task(ask(guard, headers=headers)) for _ in range(number)]
    await started.wait()
    yield
    for each in them:
        each.cancel()
    await asyncio.gather(*them, return_exceptions=True)


# --- bodies that don't arrive ----------------------------------------------------------------------------------------


async def test_heads_whose_bodies_never_arrive_take_no_slots_and_are_not_demand(
    make_guard: MakeGuard, tmp_path: Path
) -> None:
    guarding = make_guard(max_in_flight=64, keys=keys_in(tmp_path, alice=KEY, bob="a-key-of-bob"))
    guard = Guard(answering(b"{}"), guarding.gate)
    async with senders(guard, 64, BOB):
        counts = guarding.control.counts()
        assert (counts.arriving, counts.in_flight, counts.waiting) == (64, 0, 0)
        assert not guarding.metric("slipway_requests_in_flight")
        assert (await ask(guard, headers=[ALICE])).status == 200
    assert guarding.control.counts().arriving == 0


async def test_the_unfinished_bodies_of_one_key_are_bounded(make_guard: MakeGuard, tmp_path: Path) -> None:
    guard = Guard(answering(b"{}"), make_guard(keys=keys_in(tmp_path, alice=KEY, bob="a-key-of-bob")).gate)
    async with senders(guard, LEAST_ARRIVING, BOB):
        refused = await ask(guard, headers=[BOB])
        assert (refused.status, refused.error) == (429, "too_many_in_flight")
        assert (await ask(guard, headers=[ALICE])).status == 200
    assert (await ask(guard, headers=[BOB])).status == 200


async def test_without_keys_unfinished_bodies_are_bounded_for_each_address(make_guard: MakeGuard) -> None:
    guard = Guard(answering(b"{}"), make_guard().gate)
    async with senders(guard, LEAST_ARRIVING):
        assert (await Sender(guard).ends()).error == "overloaded"
        assert (await Sender(guard, address="10.0.0.2").ends()).status == 200


async def test_of_bodies_that_arrive_together_only_as_many_are_admitted_as_there_are_slots(
    make_guard: MakeGuard,
) -> None:
    guarding, started = make_guard(max_in_flight=2), asyncio.Event()
    guard = Guard(waiting(started), guarding.gate)
    async with senders(guard, 3) as them:
        ending = [asyncio.create_task(each.ends()) for each in them]
        await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
        assert guarding.control.counts().in_flight == 2
        assert [each.answer.status for each in them] == [0, 0, 503]


async def test_a_client_over_a_limit_is_refused_before_its_body_arrives(make_guard: MakeGuard) -> None:
    guarding = make_guard(requests_per_minute_per_key=1, burst_per_key=1)
    guard = Guard(answering(b"{}"), guarding.gate)
    assert (await ask(guard)).status == 200
    async with senders(guard, 1) as [sender]:
        await sender.task
        assert sender.answer.error == "rate_limit_exceeded"


async def test_heads_alone_do_not_use_up_the_rate(make_guard: MakeGuard) -> None:
    guard = Guard(answering(b"{}"), make_guard(requests_per_minute_per_key=1, burst_per_key=1).gate)
    async with senders(guard, 5):
        pass
    assert (await ask(guard)).status == 200


async def test_a_body_still_arriving_when_a_drain_starts_is_refused_immediately_and_does_not_delay_it(
    make_guard: MakeGuard,
) -> None:
    guarding = make_guard()
    guard = Guard(nothing, guarding.gate)
    async with senders(guard, 1) as [sender]:
        guarding.control.mode = GuardMode.DRAINING
        async with asyncio.timeout(10):
            await sender.task
        assert (sender.answer.status, sender.answer.error, sender.answer.whole) == (503, "draining", True)
        assert sender.answer.headers["retry-after"] == "5"
        assert guarding.control.counts().arriving == 0


async def test_a_body_that_arrives_just_after_a_drain_started_does_not_reach_the_engine(make_guard: MakeGuard) -> None:
    guarding = make_guard()
    async with senders(Guard(nothing, guarding.gate), 1) as [sender]:
        guarding.control.mode = GuardMode.DRAINING
        assert (await sender.ends()).error == "draining"


# --- the slots of one key --------------------------------------------------------------------------------------------


async def test_one_key_leaves_a_quarter_of_the_slots_for_others(make_guard: MakeGuard, tmp_path: Path) -> None:
    guarding, started = (
        make_guard(max_in_flight=4, keys=keys_in(tmp_path, alice=KEY, bob="a-key-of-bob")),
        asyncio.Event(),
    )
    guard = Guard(waiting(started), guarding.gate)
    async with in_flight(guard, started, 3, BOB):
        refused = await ask(guard, headers=[BOB])
        assert (refused.status, refused.error) == (429, "too_many_in_flight")
        assert (await ask(Guard(answering(b"{}"), guarding.gate), headers=[ALICE])).status == 200


async def test_the_only_key_may_use_all_slots(make_guard: MakeGuard, tmp_path: Path) -> None:
    guarding, started = make_guard(max_in_flight=4, keys=keys_in(tmp_path, bob="a-key-of-bob")), asyncio.Event()
    async with in_flight(Guard(waiting(started), guarding.gate), started, 3, BOB):
        assert (await ask(Guard(answering(b"{}"), guarding.gate), headers=[BOB])).status == 200


async def test_the_limit_of_requests_in_flight_per_key_is_configurable(make_guard: MakeGuard, tmp_path: Path) -> None:
    keys = keys_in(tmp_path, alice=KEY, bob="a-key-of-bob")
    guarding, started = make_guard(max_in_flight=4, max_in_flight_per_key=4, keys=keys), asyncio.Event()
    async with in_flight(Guard(waiting(started), guarding.gate), started, 3, BOB):
        assert (await ask(Guard(answering(b"{}"), guarding.gate), headers=[BOB])).status == 200
