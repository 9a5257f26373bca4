"""What clients see while no replica is ready: they wait, receive the reason, and lose nothing."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.request_body import BLOCK, BodyBlocks
from slipway.activator.shared.demand import UnknownModelError
from slipway.activator.shared.hold_limits import HoldLimits
from slipway.api.reasons import Reason
from slipway.contract.runbooks import Runbooks
from slipway.observing.cause import Cause
from support.fakes.scripted_engine import (
    STREAM_HEAD,
    ScriptedEngine,
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
from support.programs.activator import LLAMA, Activator, Client, activated, ask, connected

WITH_HEARTBEATS = HoldLimits(timeout=20, heartbeat=0.02)
STREAM = b'{"stream": true}'
GONE = Cause(Reason.MODEL_NOT_FOUND, "There is no model acme/gone.", datetime(2026, 1, 1, tzinfo=UTC), final=True)
NO_NODE = Cause(Reason.UNSCHEDULABLE, "No node has enough nvidia.com/gpu free.")


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    async with scripted_engine(echoing()) as engine:
        yield engine


@pytest.fixture
async def activator() -> AsyncIterator[Activator]:
    """An activator whose deployment is at zero."""
    async with activated(config=ProxyConfig(linger=0.2, runbooks=Runbooks("https://docs.example/{name}"))) as activator:
        yield activator


# --- held and answered -----------------------------------------------------------------------------------------------


async def test_a_request_waits_for_a_replica_and_is_answered(activator: Activator, engine: ScriptedEngine) -> None:
    request_task = asyncio.create_task(ask(activator, b"prompt"))
    await activator.until_waiting(1)
    activator.ready(engine)
    response = await request_task
    assert (response.status, response.body) == (200, b"prompt")


async def test_a_held_response_reports_its_wait_and_closes_the_connection_for_the_direct_way(
    activator: Activator, engine: ScriptedEngine
) -> None:
    async with connected(activator) as client:
        client.post()
        await activator.until_waiting(1)
        await asyncio.sleep(0.05)
        activator.ready(engine)
        response = await client.answer()
        assert response.headers["connection"] == "close"
        assert int(response.headers["slipway-held-ms"]) >= 40
        assert await client.is_closed()


async def test_a_response_that_was_not_held_keeps_the_connection_open(
    activator: Activator, engine: ScriptedEngine
) -> None:
    activator.ready(engine)
    response = await ask(activator)
    assert response.headers["slipway-held-ms"] == "0"
    assert "connection" not in response.headers


async def test_connections_are_closed_once_clients_can_connect_directly(
    activator: Activator, engine: ScriptedEngine
) -> None:
    activator.ready(engine)
    activator.update(is_direct=True)
    assert (await ask(activator)).headers["connection"] == "close"


async def test_all_waiting_requests_are_answered_and_none_twice(activator: Activator) -> None:
    number = 150
    flaky = in_turn(cutting(), answering(b"", status="503 Busy"), cutting(b"HTTP/1.1 200"), echoing())
    async with scripted_engine(flaky) as one, scripted_engine(echoing()) as two:
        tasks = [asyncio.create_task(ask(activator, b"prompt %d" % each)) for each in range(number)]
        await activator.until_waiting(number)
        activator.ready(one, two, at_a_time=4)
        answers = [response.body for response in await asyncio.gather(*tasks)]
        bodies = sorted(each.body for engine in (one, two) for each in engine.requests)
    assert answers == [b"prompt %d" % each for each in range(number)]
    assert len(bodies) == number + 3  # the three that failed were sent again, and no other
    assert max(one.most_running, two.most_running) <= 4


async def test_the_oldest_request_is_answered_first(activator: Activator, engine: ScriptedEngine) -> None:
    tasks = []
    for number in range(10):
        tasks.append(asyncio.create_task(ask(activator, b"%d" % number)))
        await activator.until_waiting(number + 1)
    activator.ready(engine, at_a_time=1)
    await asyncio.gather(*tasks)
    assert [each.body for each in engine.requests] == [b"%d" % number for number in range(10)]


async def test_a_request_whose_replica_goes_away_waits_for_the_next(
    activator: Activator, engine: ScriptedEngine
) -> None:
    broken = asyncio.Event()
    async with scripted_engine(when(broken, cutting())) as first:
        activator.ready(first)
        request_task = asyncio.create_task(ask(activator, b"prompt"))
        await first.until_requests()
        activator.ready()
        broken.set()
        await activator.until_waiting(1)
        activator.ready(engine)
        assert (await request_task).body == b"prompt"


async def test_a_large_body_waits_in_the_sockets_and_is_streamed(engine: ScriptedEngine) -> None:
    body = b"0123456789abcdef" * 65536
    async with activated(config=ProxyConfig(stored_body=4096)) as activator:
        request_task = asyncio.create_task(ask(activator, body))
        await activator.until_waiting(1)
        activator.ready(engine)
        assert (await request_task).body == body


# --- demand ----------------------------------------------------------------------------------------------------------


async def test_at_zero_nothing_is_wanted(activator: Activator) -> None:
    assert (activator.wanted.active, activator.wanted.waiting) == (False, 0)


async def test_a_client_that_leaves_is_forgotten_immediately_but_the_wake_continues(activator: Activator) -> None:
    async with connected(activator) as client:
        client.post()
        await activator.until_waiting(1)
        assert activator.wanted.active
    await activator.until_waiting(0)
    assert activator.wanted.active


@pytest.mark.skipif("sys.platform != 'linux'", reason="needs notice of a close behind unread data")
async def test_a_client_that_leaves_behind_a_large_body_is_forgotten_too() -> None:
    async with activated(config=ProxyConfig(stored_body=4096)) as activator:
        async with connected(activator) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n" + b"x" * 200_000)
            await client.writer.drain()
            await activator.until_waiting(1)
        await activator.until_waiting(0)


async def test_the_wake_is_over_when_a_replica_is_ready(activator: Activator, engine: ScriptedEngine) -> None:
    async with connected(activator) as client:
        client.post()
        await activator.until_waiting(1)
    await activator.until_waiting(0)
    activator.ready(engine)
    assert not activator.wanted.active


async def test_the_wake_is_over_when_it_has_finally_failed(activator: Activator) -> None:
    request_task = asyncio.create_task(ask(activator))
    await activator.until_waiting(1)
    activator.update(cause=GONE)
    await request_task
    await activator.until_inactive()


async def test_a_request_under_way_keeps_the_deployment_active(activator: Activator) -> None:
    released = asyncio.Event()
    async with scripted_engine(when(released, echoing())) as engine:
        activator.ready(engine)
        request_task = asyncio.create_task(ask(activator))
        await engine.until_requests()
        assert (activator.wanted.active, activator.wanted.waiting) == (True, 0)
        released.set()
        await request_task
    await activator.until_inactive()


async def test_a_deployment_that_is_in_use_for_other_reasons_stays_active(activator: Activator) -> None:
    activator.update(in_use=True)
    assert activator.wanted.active


async def test_a_deleted_deployment_is_unknown(activator: Activator) -> None:
    activator.deployments.forget(LLAMA)
    with pytest.raises(UnknownModelError):
        assert activator.wanted


# --- refused ---------------------------------------------------------------------------------------------------------


async def test_a_client_that_finds_no_place_gets_retry_after(engine: ScriptedEngine) -> None:
    async with activated(limits=HoldLimits(max_requests=1, timeout=20)) as activator:
        activator.update(expected_wake=80.0)
        request_task = asyncio.create_task(ask(activator, b"first"))
        await activator.until_waiting(1)
        refused = await ask(activator)
        assert (refused.status, refused.error["code"]) == (429, "HoldFull")
        assert int(refused.headers["retry-after"]) == 80
        activator.ready(engine)
        assert (await request_task).body == b"first"


async def test_one_client_cannot_take_all_places() -> None:
    async with activated(limits=HoldLimits(max_requests=8, timeout=20)) as activator:
        invented = ("Authorization: %d\r\n", "X-Forwarded-For: 192.0.2.%d\r\n")
        greedy = [asyncio.create_task(ask(activator, headers=invented[each % 2] % each)) for each in range(20)]
        await activator.until_waiting(6)
        modest = asyncio.create_task(ask(activator, source="127.0.0.2"))
        await activator.until_waiting(7)
        refused = [task for task in greedy if task.done()]
        assert {task.result().status for task in refused} <= {429}
        for task in (*greedy, modest):
            task.cancel()
        await asyncio.gather(*greedy, modest, return_exceptions=True)


async def test_the_total_of_stored_bodies_is_bounded(engine: ScriptedEngine) -> None:
    async with activated(limits=HoldLimits(max_bytes=10_000, timeout=20)) as activator:
        request_task = asyncio.create_task(ask(activator, b"x" * 6000))
        await activator.until_waiting(1)
        assert (await ask(activator, b"x" * 6000)).status == 429
        activator.ready(engine)
        await request_task
        assert (await ask(activator, b"x" * 6000)).status == 200


async def test_a_body_larger_than_one_client_may_store_is_streamed(engine: ScriptedEngine) -> None:
    body = b"0123456789abcdef" * 8192
    async with activated(limits=HoldLimits(max_bytes=10_000, timeout=20)) as activator:
        request_task = asyncio.create_task(ask(activator, body))
        await activator.until_waiting(1)
        activator.ready(engine)
        assert (await request_task).body == body


async def test_a_body_that_grows_beyond_the_bound_is_refused() -> None:
    async with activated(limits=HoldLimits(max_bytes=10_000, timeout=20)) as activator, connected(activator) as client:
        request_task = asyncio.create_task(ask(activator, b"x" * 6000))
        await activator.until_waiting(1)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + in_chunk(b"x" * 20_000))
        assert (await client.answer()).status == 429
        request_task.cancel()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused(chunked: bool) -> None:
    async with (
        activated(config=ProxyConfig(largest_body=1000, linger=0.2)) as activator,
        connected(activator) as client,
    ):
        if chunked:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + in_chunk(b"x" * 1001))
        else:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1000)
        refused = await client.answer()
        assert (refused.status, refused.error["code"]) == (413, "RequestTooLarge")
        assert refused.headers["connection"] == "close"
        assert await client.is_closed()


async def test_a_final_cause_refuses_all_waiting_requests_immediately(activator: Activator) -> None:
    tasks = [asyncio.create_task(ask(activator)) for _ in range(5)]
    await activator.until_waiting(5)
    activator.update(cause=GONE)
    for refused in await asyncio.gather(*tasks):
        assert refused.status == 503
        assert "retry-after" not in refused.headers
        assert refused.error == {
            "type": "service_unavailable_error",
            "code": "ModelNotFound",
            "message": "There is no model acme/gone. See https://docs.example/ModelNotFound",
            "param": None,
        }
    assert (await ask(activator)).status == 503


async def test_a_final_cause_refuses_no_request_while_an_older_replica_serves(
    activator: Activator, engine: ScriptedEngine
) -> None:
    activator.update(cause=GONE)
    activator.ready(engine)
    assert (await ask(activator)).status == 200


async def test_a_cause_that_may_pass_is_waited_for(activator: Activator, engine: ScriptedEngine) -> None:
    request_task = asyncio.create_task(ask(activator))
    await activator.until_waiting(1)
    activator.update(cause=NO_NODE)
    activator.update(cause=None)
    activator.ready(engine)
    assert (await request_task).status == 200


@pytest.mark.parametrize(("cause", "status", "code"), [(NO_NODE, 503, "Unschedulable"), (None, 504, "HoldTimeout")])
async def test_at_the_time_limit_the_client_receives_what_it_waited_for(
    cause: Cause | None, status: int, code: str
) -> None:
    async with activated(limits=HoldLimits(timeout=0.05)) as activator:
        activator.update(cause=cause)
        refused = await ask(activator)
    assert (refused.status, refused.error["code"]) == (status, code)
    assert int(refused.headers["retry-after"]) >= 1


@pytest.mark.parametrize("code", ["draining", "overloaded"])
async def test_a_replica_that_only_refuses_is_given_up_at_the_time_limit(code: str) -> None:
    busy = answering(b'{"error": {"code": "%b"}}' % code.encode(), status="503 Busy")
    async with scripted_engine(busy) as engine, activated(limits=HoldLimits(timeout=0.5)) as activator:
        activator.ready(engine)
        assert (await ask(activator)).status == 504
        assert len(engine.requests) <= 4  # each time it was left alone for longer


async def test_a_client_that_waits_for_a_deleted_deployment_is_refused_with_the_reason(activator: Activator) -> None:
    request_task = asyncio.create_task(ask(activator))
    await activator.until_waiting(1)
    activator.deployments.forget(LLAMA)
    assert (await request_task).error["code"] == "Deleting"


# --- heartbeats ------------------------------------------------------------------------------------------------------


async def first_heartbeat(activator: Activator, client: Client) -> bytes:
    """A held stream whose first heartbeat has arrived."""
    client.post(STREAM)
    assert (await client.head()).headers["content-type"].startswith("text/event-stream")
    return await client.chunk()


async def rest_of_stream(client: Client) -> bytes:
    """All that still arrives except heartbeats."""
    received = b""
    while piece := await client.chunk():
        received += b"" if piece.startswith(b": waking") else piece
    return received


async def test_a_held_stream_receives_what_it_waits_for_and_then_its_response() -> None:
    stream = STREAM_HEAD + in_chunk(token("Hello")) + in_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    async with scripted_engine(saying(stream)) as engine, activated(limits=WITH_HEARTBEATS) as activator:
        activator.update(step=Reason.PULLING_IMAGE, expected_wake=80.0)
        async with connected(activator) as client:
            assert await first_heartbeat(activator, client) == b": waking, pulling image, 0 s of about 80 s\n\n"
            activator.ready(engine)
            received = await rest_of_stream(client)
            assert await client.reader.read() == b"\r\n"  # no trailers, and then the end of the connection
    assert received.startswith(b": held for ")
    assert received.endswith(token("Hello") + b"data: [DONE]\n\n")


async def test_a_request_without_a_stream_gets_no_heartbeats(engine: ScriptedEngine) -> None:
    async with activated(limits=WITH_HEARTBEATS) as activator:
        request_task = asyncio.create_task(ask(activator, b'{"stream": false}'))
        await activator.until_waiting(1)
        await asyncio.sleep(5 * WITH_HEARTBEATS.heartbeat)
        activator.ready(engine)
        assert (await request_task).body == b'{"stream": false}'


async def test_others_are_served_while_a_large_body_is_searched_for_the_stream_flag(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks_of, turn, read = BodyBlocks.__iter__, 0, Counter[int]()

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    def counting_blocks(blocks: BodyBlocks) -> Iterator[bytes]:
        for block in blocks_of(blocks):
            read[turn] += 1
            yield block

    monkeypatch.setattr(BodyBlocks, "__iter__", counting_blocks)
    body = b'{"prompt": "%b", "stream": true}' % (b"x" * (4 << 20))
    async with activated(limits=WITH_HEARTBEATS) as activator, connected(activator) as client:
        counting = asyncio.create_task(count_turns())
        client.post(body)
        assert (await client.head()).headers["content-type"].startswith("text/event-stream")
        counting.cancel()
    assert read.total() >= len(body) // (2 * BLOCK)
    assert max(read.values()) <= read.total() // 4  # blocks that are read between two polls of the sockets


async def test_a_stream_that_has_started_gets_a_final_cause_as_an_event() -> None:
    async with activated(limits=WITH_HEARTBEATS) as activator, connected(activator) as client:
        await first_heartbeat(activator, client)
        activator.update(cause=GONE)
        received = await rest_of_stream(client)
    assert received.startswith(b'data: {"error": {"type": "service_unavailable_error", "code": "ModelNotFound"')
    assert received.endswith(b"\n\n")


async def test_a_stream_that_has_started_gets_an_engines_error_as_an_event() -> None:
    error = answering(
        b'{"error":\n{"message": "no"}}', status="400 Bad Request", headers="Content-Type: application/json\r\n"
    )
    async with (
        scripted_engine(error) as engine,
        activated(limits=WITH_HEARTBEATS) as activator,
        connected(activator) as client,
    ):
        await first_heartbeat(activator, client)
        activator.ready(engine)
        received = await rest_of_stream(client)
    assert received.endswith(b'data: {"error":\ndata: {"message": "no"}}\n\n')


async def test_a_stream_that_has_started_is_retried_like_any_other() -> None:
    stream = saying(STREAM_HEAD + in_chunk(token("Hello")) + b"0\r\n\r\n")
    script = in_turn(cutting(), answering(b"", status="503 Busy"), stream)
    async with (
        scripted_engine(script) as engine,
        activated(limits=WITH_HEARTBEATS) as activator,
        connected(activator) as client,
    ):
        await first_heartbeat(activator, client)
        activator.ready(engine)
        assert (await rest_of_stream(client)).endswith(token("Hello"))
    assert len(engine.requests) == 3


# --- a spent budget ---------------------------------------------------------------------------------------------------


async def test_a_spent_budget_is_answered_with_429_and_the_time_of_the_reset(
    activator: Activator, engine: ScriptedEngine
) -> None:
    activator.update(refused_until=datetime(2099, 12, 1, tzinfo=UTC))
    response = await ask(activator)
    error = json.loads(response.body)["error"]
    assert (response.status, error["code"], error["type"]) == (429, "budget_spent", "rate_limit_error")
    told = "The budget of this model is spent until 2099-12-01 00:00:00 UTC. Send the request again then."
    assert error["message"] == f"{told} See https://docs.example/BudgetSpent"
    assert int(response.headers["retry-after"]) > 86_400
    activator.update(refused_until=None)
    activator.ready(engine)
    assert (await ask(activator)).status == 200
