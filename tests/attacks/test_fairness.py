"""One client, deployment or namespace takes all it can get of the activator: what remains for the others.

A client is an address: attackers have 127.0.0.1, and the honest client has 127.0.0.2.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from slipway.activator.proxy import listeners
from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.empty_aborts import MOST_EVENTS
from slipway.activator.shared.demand import Demand, ModelDemand
from slipway.activator.shared.hold_limits import HoldLimits
from slipway.activator.shared.model_state import ModelState, ModelStates
from slipway.activator.shared.replica import Replica
from slipway.api.model_key import ModelKey
from support.fakes.scripted_engine import (
    STREAM_HEAD,
    ScriptedEngine,
    answering,
    echoing,
    in_chunk,
    saying,
    scripted_engine,
    token,
)
from support.programs.activator import Client, refusals

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux can clients have addresses of their own")

ATTACKER, HONEST = "127.0.0.1", "127.0.0.2"
LLAMA = ModelKey("chat", "llama")
KIB, MIB = 1 << 10, 1 << 20


@dataclass
class Scene:
    """Deployments at zero, and attackers that stay connected until the end of the test."""

    listeners: listeners.Listeners
    deployments: ModelStates
    demand: Demand
    global_limits: GlobalLimits
    stack: AsyncExitStack
    attackers: list[Client] = field(default_factory=list)

    def deploy(self, deployment: ModelKey, limits: HoldLimits) -> None:
        self.deployments.update(ModelState(key=deployment, port=0, limits=limits))

    def wanted(self, deployment: ModelKey = LLAMA) -> ModelDemand:
        return self.demand.of(deployment)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until the attack has had this effect. There is no event when a request over a socket is refused."""
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def connect(self, deployment: ModelKey, source: str) -> Client:
        port = await self.listeners.port(deployment)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        self.stack.callback(writer.close)
        return Client(reader, writer)

    async def attack(self, raw: bytes, *, deployment: ModelKey = LLAMA, source: str = ATTACKER) -> None:
        client = await self.connect(deployment, source)
        client.send(raw)
        self.attackers.append(client)

    async def is_served(self, engine: ScriptedEngine, deployment: ModelKey = LLAMA) -> bool:
        """Whether the honest client is held, and gets a response when there is a replica."""
        before = self.wanted(deployment).waiting
        client = await self.connect(deployment, HONEST)
        client.post(b"an honest prompt")
        await self.until(lambda: self.wanted(deployment).waiting == before + 1)
        state = self.deployments.of(deployment)
        assert state
        engine.script = echoing()
        ready = (Replica("127.0.0.1", engine.port, 1000),)
        self.deployments.update(ModelState(key=deployment, port=state.port, limits=state.limits, replicas=ready))
        return (await client.answer()).body == b"an honest prompt"


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    async with scripted_engine() as engine:
        yield engine


@asynccontextmanager
async def scene(
    *, limits: HoldLimits | None = None, global_limits: GlobalLimits | None = None, config: ProxyConfig | None = None
) -> AsyncIterator[Scene]:
    deployments, demand, global_limits = ModelStates(), Demand(), global_limits or GlobalLimits()
    config = config or ProxyConfig(linger=0.05)
    async with (
        listeners.serve(deployments, demand, limits=global_limits, config=config, host="127.0.0.1", grace=0) as opened,
        AsyncExitStack() as stack,
    ):
        scene = Scene(opened, deployments, demand, global_limits, stack)
        scene.deploy(LLAMA, limits or HoldLimits(timeout=60))
        yield scene


# --- one client at one deployment ------------------------------------------------------------------------------------


def head(headers: str = "", *, length: int | None = None) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"POST /v1/completions HTTP/1.1\r\nHost: llama\r\n{headers}{framing}\r\n\r\n".encode()


async def heads_with_a_large_content_length(scene: Scene) -> int:
    for _ in range(8):
        await scene.attack(head(length=8 * MIB))
    await scene.until(lambda: scene.global_limits.arriving.taken == 8)
    return 0


async def heads_without_a_body(scene: Scene) -> int:
    for _ in range(256):
        await scene.attack(head(length=2))
    await scene.until(lambda: scene.global_limits.arriving.taken == 256)
    return 0


async def heads_without_a_length(scene: Scene) -> int:
    for _ in range(100):
        await scene.attack(head() + b"5\r\nhello\r\n")
    await scene.until(lambda: scene.global_limits.arriving.taken == 100)
    return 0


async def heads_with_expect_continue(scene: Scene) -> int:
    for _ in range(100):
        await scene.attack(head("Expect: 100-continue\r\n", length=8 * MIB))
    await scene.until(lambda: scene.global_limits.arriving.taken == 100)
    return 0


async def bodies_that_lack_a_byte(scene: Scene) -> int:
    for _ in range(8):
        await scene.attack(head(length=MIB) + bytes(MIB - 1))
    await scene.until(lambda: scene.global_limits.bytes.taken > 7 * MIB)
    return 0


async def invented_names(scene: Scene) -> int:
    """A thousand requests, each with a different key and different addresses."""
    for number in range(200):
        await scene.attack(invented(number))
    await scene.until(lambda: scene.wanted().waiting + refusals(scene.global_limits).total() == 200)
    for number in range(200, 1000, 100):
        async with asyncio.TaskGroup() as tasks:
            for each in range(number, number + 100):
                tasks.create_task(refused_one(scene, each))
    return 192


def invented(number: int) -> bytes:
    names = f"Authorization: Bearer {number}\r\nX-Forwarded-For: 10.1.{number // 256}.{number % 256}\r\n"
    return head(f"{names}X-Real-Ip: 10.2.{number // 256}.{number % 256}\r\n", length=2) + b"{}"


async def refused_one(scene: Scene, number: int) -> None:
    client = await scene.connect(LLAMA, ATTACKER)
    client.send(invented(number))
    refused = await client.answer()
    assert (refused.status, refused.error["code"]) == (429, "HoldFull")
    assert int(refused.headers["retry-after"]) > 1  # the expected end of the wake
    client.close()


async def large_bodies(scene: Scene) -> int:
    """As many as fit into the bytes that one client may use."""
    for _ in range(10):
        await scene.attack(head(length=7 * MIB) + bytes(7 * MIB))
    await scene.until(lambda: scene.wanted().waiting == 6 and refusals(scene.global_limits).total() == 4)
    return 6


async def many_small_requests(scene: Scene) -> int:
    for _ in range(256):
        await scene.attack(head(length=2) + b"{}")
    await scene.until(lambda: scene.wanted().waiting + refusals(scene.global_limits).total() == 256)
    return 192


AT_ONE_DEPLOYMENT = [
    heads_with_a_large_content_length,
    heads_without_a_body,
    heads_without_a_length,
    heads_with_expect_continue,
    bodies_that_lack_a_byte,
    invented_names,
    large_bodies,
    many_small_requests,
]


@pytest.mark.parametrize("attack", AT_ONE_DEPLOYMENT)
async def test_no_attack_of_one_client_blocks_another_and_only_complete_requests_are_demand(
    engine: ScriptedEngine, attack: Callable[[Scene], Awaitable[int]]
) -> None:
    async with scene() as attacked:
        complete = await attack(attacked)
        assert (attacked.wanted().waiting, attacked.wanted().active) == (complete, complete > 0)
        assert await attacked.is_served(engine)


async def test_a_client_with_all_the_slots_it_can_get_delays_another_by_one_turn(engine: ScriptedEngine) -> None:
    async with scene() as attacked:
        await many_small_requests(attacked)
        client = await attacked.connect(LLAMA, HONEST)
        client.post(b"an honest prompt")
        await attacked.until(lambda: attacked.wanted().waiting == 193)
        state = attacked.deployments.of(LLAMA)
        assert state
        engine.script = echoing()
        attacked.deployments.update(replace(state, replicas=(Replica("127.0.0.1", engine.port, 1),)))
        assert (await client.answer()).body == b"an honest prompt"
        assert [request.body for request in engine.requests[:2]] == [b"{}", b"an honest prompt"]


async def test_the_bytes_of_one_clients_unfinished_bodies_are_bounded_and_retry_after_is_short(
    engine: ScriptedEngine,
) -> None:
    async with scene(global_limits=GlobalLimits(max_arriving=20)) as attacked:
        for _ in range(10):
            await attacked.attack(head(length=2))
        await attacked.until(lambda: attacked.global_limits.arriving.taken == 10)
        another = await attacked.connect(LLAMA, ATTACKER)
        another.send(head(length=2))
        refused = await another.answer()
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert await attacked.is_served(engine)


async def test_a_body_that_arrives_too_slowly_is_refused_even_if_it_never_pauses() -> None:
    config = ProxyConfig(body_timeout=0.3, body_rate=1 * MIB, linger=20)
    async with scene(config=config) as attacked:
        slow = await attacked.connect(LLAMA, ATTACKER)
        slow.send(head(length=1000))

        async def drip() -> None:
            while True:
                slow.send(b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert (await slow.answer()).status == 408
        assert attacked.global_limits.arriving.taken == 0
        dripping.cancel()


async def test_a_held_client_does_not_time_out_for_a_body_that_is_not_being_read(engine: ScriptedEngine) -> None:
    config = ProxyConfig(body_timeout=0.1, stored_body=1000, linger=0.05)
    async with scene(config=config) as held:
        client = await held.connect(LLAMA, HONEST)
        client.post(bytes(MIB))
        await held.until(lambda: held.wanted().waiting == 1)
        await asyncio.sleep(0.3)
        assert await held.is_served(engine)
        assert (await client.answer()).status == 200


# --- many deployments ------------------------------------------------------------------------------------------------

SMALL = HoldLimits(timeout=60)


async def test_one_client_of_many_deployments_leaves_slots_at_each_of_them(engine: ScriptedEngine) -> None:
    async with scene(global_limits=GlobalLimits(max_requests=200)) as attacked:
        deployments = [LLAMA, *(ModelKey(f"space-{each}", "llama") for each in range(20))]
        for deployment in deployments:
            attacked.deploy(deployment, SMALL)
            for _ in range(12):
                await attacked.attack(head(length=2) + b"{}", deployment=deployment)
        await attacked.until(lambda: sum(attacked.wanted(each).waiting for each in deployments) == 100)
        assert await attacked.is_served(engine, deployments[3])


async def test_one_namespace_with_fifty_deployments_leaves_slots_for_another(engine: ScriptedEngine) -> None:
    async with scene(global_limits=GlobalLimits(max_requests=200)) as attacked:
        greedy = [ModelKey("greedy", f"model-{each}") for each in range(50)]
        for number, deployment in enumerate(greedy):
            attacked.deploy(deployment, SMALL)
            for each in range(5):
                source = f"127.0.1.{number * 5 + each + 1}"
                await attacked.attack(head(length=2) + b"{}", deployment=deployment, source=source)
        await attacked.until(lambda: sum(attacked.wanted(each).waiting for each in greedy) == 150)
        assert await attacked.is_served(engine)


async def test_the_bytes_of_one_namespace_leave_some_for_another(engine: ScriptedEngine) -> None:
    async with scene(global_limits=GlobalLimits(max_bytes=16 * MIB)) as attacked:
        greedy = [ModelKey("greedy", f"model-{each}") for each in range(10)]
        for number, deployment in enumerate(greedy):
            attacked.deploy(deployment, SMALL)
            for each in range(4):
                source = f"127.0.1.{number * 4 + each + 1}"
                await attacked.attack(head(length=MIB) + bytes(MIB), deployment=deployment, source=source)
        limits = attacked.global_limits
        await attacked.until(
            lambda: sum(attacked.wanted(each).waiting for each in greedy) + refusals(limits).total() == 40
        )
        assert attacked.global_limits.bytes.taken <= 12 * MIB
        assert await attacked.is_served(engine)


# --- connections -----------------------------------------------------------------------------------------------------


async def test_a_namespace_whose_pods_never_respond_leaves_connections_for_another(engine: ScriptedEngine) -> None:
    config = ProxyConfig(connections=64, connections_per_port=16, linger=0.05)
    async with scene(config=config) as attacked, scripted_engine(saying(b"")) as silent:
        ready = (Replica("127.0.0.1", silent.port, 4096),)
        for model in range(6):
            deployment = ModelKey("greedy", f"model-{model}")
            attacked.deployments.update(ModelState(key=deployment, port=0, replicas=ready))
            for address in range(1, 7):
                for _ in range(6):
                    source = f"127.0.1.{address}"
                    await attacked.attack(head(length=2) + b"{}", deployment=deployment, source=source)
        await attacked.until(lambda: len(silent.requests) + refusals(attacked.global_limits).total() == 6 * 6 * 6)
        assert len(silent.requests) == 48
        assert await attacked.is_served(engine)


# --- responses -------------------------------------------------------------------------------------------------------


async def ask_many(scene: Scene, deployment: ModelKey, engine: ScriptedEngine, number: int) -> None:
    """Requests to a replica of the attacker's own."""
    ready = (Replica("127.0.0.1", engine.port, 4096),)
    scene.deployments.update(ModelState(key=deployment, port=0, replicas=ready))
    for _ in range(number):
        await scene.attack(head(length=2) + b"{}", deployment=deployment)


GREEDY = ModelKey("greedy", "llama")


async def test_stalled_responses_take_no_more_than_their_requests_did(engine: ScriptedEngine) -> None:
    async with scene(global_limits=GlobalLimits(max_bytes=4 * MIB)) as attacked, scripted_engine() as silent:
        silent.script = saying(STREAM_HEAD + in_chunk(token("word")))
        await ask_many(attacked, GREEDY, silent, 60)
        for each in attacked.attackers:
            await each.head()
            assert await each.chunk()
        assert attacked.global_limits.bytes.taken < 60 * 25 * KIB
        assert await attacked.is_served(engine)


async def test_buffered_responses_of_slow_clients_are_bounded_and_leave_room_for_others(
    engine: ScriptedEngine,
) -> None:
    global_limits = GlobalLimits(max_bytes=4 * MIB)
    async with scene(global_limits=global_limits) as attacked, scripted_engine() as large:
        large.script = answering(bytes(16 * MIB))
        await ask_many(attacked, GREEDY, large, 30)
        await attacked.until(
            lambda: (30 - refusals(global_limits)["AnswerNotTaken"]) * 128 * KIB < global_limits.bytes.taken
        )
        assert MIB < global_limits.bytes.taken <= global_limits.max_bytes / 2
        assert await attacked.is_served(engine)
        for each in attacked.attackers:
            each.writer.transport.abort()
        await attacked.until(lambda: global_limits.bytes.taken == 0)


async def test_response_starts_without_a_verdict_are_buffered_within_the_limit_or_passed_on(
    engine: ScriptedEngine,
) -> None:
    global_limits = GlobalLimits(max_bytes=4 * MIB)
    async with scene(global_limits=global_limits) as attacked, scripted_engine() as silent:
        silent.script = saying(
            STREAM_HEAD + in_chunk(b": nothing\n\n" * (MOST_EVENTS - 1))
        )  # with one more, all of them are passed on
        await ask_many(attacked, GREEDY, silent, 30)
        seen = [asyncio.create_task(each.head()) for each in attacked.attackers]
        await attacked.until(lambda: sum(each.done() for each in seen) > 15)
        buffered = 30 - sum(each.done() for each in seen)
        assert buffered > 0
        assert buffered * 128 * KIB < global_limits.bytes.taken <= global_limits.max_bytes / 2
        assert await attacked.is_served(engine)
        for each in seen:
            each.cancel()
        await asyncio.gather(*seen, return_exceptions=True)


# --- wakes -----------------------------------------------------------------------------------------------------------


async def test_a_complete_request_starts_a_wake_and_heads_alone_do_not() -> None:
    async with scene() as attacked:
        await heads_without_a_body(attacked)
        assert attacked.global_limits.counters.wakes == 0
        client = await attacked.connect(LLAMA, HONEST)
        client.post(b"{}")
        await attacked.until(lambda: attacked.wanted().waiting == 1)
        assert (attacked.wanted().active, attacked.global_limits.counters.wakes) == (True, 1)
