"""The external scaler, called over a real gRPC connection as KEDA calls it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import grpc
import pytest
from slipway.activator.keda import scaler
from slipway.activator.keda._generated import externalscaler_pb2 as pb
from slipway.activator.keda._generated import externalscaler_pb2_grpc as rpc
from slipway.activator.keda.scaler import REPLICAS, REQUESTS, STREAMS_EACH, serve
from slipway.activator.shared.by_times import ByTimes
from slipway.activator.shared.demand import Demand, ModelDemand
from slipway.api.model_key import ModelKey
from support.fakes.callers import ALLOW_EVERY_CALLER

LLAMA = ModelKey("chat", "llama")
REF = pb.ScaledObjectRef(namespace="chat", name="llama")
UNKNOWN = pb.ScaledObjectRef(namespace="chat", name="nobody")
IDLE = ModelDemand(active=False, waiting=0, target_per_replica=8)
BUSY = ModelDemand(active=True, waiting=3, target_per_replica=8)
NEVER = 3600.0


@pytest.fixture
def demand() -> Demand:
    demand = Demand()
    demand.report(LLAMA, IDLE)
    return demand


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[rpc.ExternalScalerStub]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield rpc.ExternalScalerStub(channel)


@pytest.fixture
async def keda(demand: Demand) -> AsyncIterator[rpc.ExternalScalerStub]:
    """A client of a scaler that repeats nothing, so that every message is a change."""
    async with (
        serve(demand, "127.0.0.1", 0, checks=ALLOW_EVERY_CALLER, repeat_after=NEVER) as port,
        connected(port) as stub,
    ):
        yield stub


@contextmanager
def not_found(name: str) -> Iterator[None]:
    with pytest.raises(grpc.aio.AioRpcError, match=f"The demand for {name} is not known") as error:
        yield
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


async def test_is_active_reports_whether_a_model_is_wanted(demand: Demand, keda: rpc.ExternalScalerStub) -> None:
    assert (await keda.IsActive(REF)).result is False
    demand.report(LLAMA, BUSY)
    assert (await keda.IsActive(REF)).result is True


async def test_the_metric_is_the_number_of_waiting_and_running_requests(
    demand: Demand, keda: rpc.ExternalScalerStub
) -> None:
    demand.report(LLAMA, BUSY._replace(running=2.0))
    answer = await keda.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=REF, metricName=REQUESTS))
    assert [(value.metricName, value.metricValueFloat) for value in answer.metricValues] == [(REQUESTS, 5)]


async def test_the_metric_spec_is_the_target_per_replica(keda: rpc.ExternalScalerStub) -> None:
    answer = await keda.GetMetricSpec(REF)
    assert [(spec.metricName, spec.targetSizeFloat) for spec in answer.metricSpecs] == [(REQUESTS, 8)]


async def test_where_times_are_followed_the_metric_is_the_number_of_replicas(
    demand: Demand, keda: rpc.ExternalScalerStub
) -> None:
    demand.report(LLAMA, BUSY._replace(by_times=ByTimes(3)))
    (spec,) = (await keda.GetMetricSpec(REF)).metricSpecs
    assert (spec.metricName, spec.targetSizeFloat) == (REPLICAS, 1)
    (value,) = (await keda.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=REF, metricName=REPLICAS))).metricValues
    assert (value.metricName, value.metricValueFloat) == (REPLICAS, 3)


async def test_a_target_that_has_changed_reaches_no_comparison_with_the_other_metric(
    demand: Demand, keda: rpc.ExternalScalerStub
) -> None:
    """Until KEDA knows of it, it compares with the target of before."""
    demand.report(LLAMA, BUSY._replace(running=20.0))
    specs = aiter(keda.StreamMetricSpec(REF))
    assert (await anext(specs)).metricSpecs[0].metricName == REQUESTS
    demand.report(LLAMA, BUSY._replace(running=20.0, by_times=ByTimes(3)))
    of_requests = await keda.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=REF, metricName=REQUESTS))
    assert of_requests.metricValues[0].metricValueFloat == 23
    assert (await anext(specs)).metricSpecs[0].metricName == REPLICAS


async def test_the_metric_spec_is_returned_before_the_deployment_is_known(keda: rpc.ExternalScalerStub) -> None:
    answer = await keda.GetMetricSpec(UNKNOWN)
    assert answer.metricSpecs[0].targetSizeFloat > 0


async def test_an_unknown_deployment_is_an_error_and_never_inactive(keda: rpc.ExternalScalerStub) -> None:
    with not_found("chat/nobody"):
        await keda.IsActive(UNKNOWN)
    with not_found("chat/nobody"):
        await keda.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=UNKNOWN, metricName=REQUESTS))


async def test_a_stream_sends_nothing_until_its_deployment_is_known(
    demand: Demand, keda: rpc.ExternalScalerStub
) -> None:
    """An error would keep KEDA from opening the next stream for up to a minute."""
    states = asyncio.ensure_future(anext(aiter(keda.StreamIsActive(UNKNOWN))))
    specs = asyncio.ensure_future(anext(aiter(keda.StreamMetricSpec(UNKNOWN))))
    await keda.IsActive(REF)
    assert [states.done(), specs.done()] == [False, False]
    demand.report(ModelKey("chat", "nobody"), BUSY)
    assert (await states).result is True
    assert (await specs).metricSpecs[0].targetSizeFloat == 8


async def test_a_stream_sends_the_current_state_immediately_and_then_every_change(
    demand: Demand, keda: rpc.ExternalScalerStub
) -> None:
    states = aiter(keda.StreamIsActive(REF))
    assert (await anext(states)).result is False
    demand.report(LLAMA, BUSY)
    assert (await anext(states)).result is True
    demand.report(LLAMA, IDLE)
    assert (await anext(states)).result is False


async def test_more_waiting_requests_send_no_message_on_an_active_stream(
    demand: Demand, keda: rpc.ExternalScalerStub
) -> None:
    demand.report(LLAMA, BUSY)
    states = aiter(keda.StreamIsActive(REF))
    assert (await anext(states)).result is True
    demand.report(LLAMA, BUSY._replace(waiting=4))
    await keda.IsActive(REF)  # the stream has had its turn by the time this is answered
    demand.report(LLAMA, IDLE)
    assert (await anext(states)).result is False


async def test_true_is_sent_repeatedly(demand: Demand) -> None:
    demand.report(LLAMA, BUSY)
    async with (
        serve(demand, "127.0.0.1", 0, checks=ALLOW_EVERY_CALLER, repeat_after=0.001) as port,
        connected(port) as keda,
    ):
        states = aiter(keda.StreamIsActive(REF))
        assert [(await anext(states)).result for _ in range(5)] == [True] * 5


async def test_false_is_not_repeated(demand: Demand) -> None:
    async with (
        serve(demand, "127.0.0.1", 0, checks=ALLOW_EVERY_CALLER, repeat_after=0.001) as port,
        connected(port) as keda,
    ):
        states = aiter(keda.StreamIsActive(REF))
        assert (await anext(states)).result is False
        for _ in range(20):  # far longer than repeat_after
            await keda.IsActive(REF)
        demand.report(LLAMA, BUSY)
        assert (await anext(states)).result is True


async def test_each_deployments_stream_gets_only_its_own_demand(demand: Demand, keda: rpc.ExternalScalerStub) -> None:
    demand.report(ModelKey("chat", "gemma"), IDLE)
    llama = aiter(keda.StreamIsActive(REF))
    gemma = aiter(keda.StreamIsActive(pb.ScaledObjectRef(namespace="chat", name="gemma")))
    assert [(await anext(states)).result for states in (llama, gemma)] == [False, False]
    demand.report(ModelKey("chat", "gemma"), BUSY)
    assert (await anext(gemma)).result is True
    demand.report(LLAMA, BUSY)
    assert (await anext(llama)).result is True


async def test_a_new_target_is_pushed_and_polled_alike(demand: Demand, keda: rpc.ExternalScalerStub) -> None:
    specs = aiter(keda.StreamMetricSpec(REF))
    assert (await anext(specs)).metricSpecs[0].targetSizeFloat == 8
    demand.report(LLAMA, IDLE._replace(target_per_replica=2.5))
    assert (await anext(specs)) == await keda.GetMetricSpec(REF)
    assert (await keda.GetMetricSpec(REF)).metricSpecs[0].targetSizeFloat == 2.5


async def test_a_stream_is_silent_when_its_deployment_is_deleted_and_resumes_when_it_returns(demand: Demand) -> None:
    async with (
        serve(demand, "127.0.0.1", 0, checks=ALLOW_EVERY_CALLER, repeat_after=0.001) as port,
        connected(port) as keda,
    ):
        demand.report(LLAMA, BUSY)
        states = aiter(keda.StreamIsActive(REF))
        assert (await anext(states)).result is True
        demand.forget(LLAMA)
        for _ in range(20):  # far longer than repeat_after
            await keda.GetMetricSpec(REF)
        demand.report(LLAMA, IDLE)
        while (await anext(states)).result:
            pass  # sent before the deletion, and still on its way


async def test_streams_end_cleanly_when_the_server_stops(demand: Demand) -> None:
    async with AsyncExitStack() as server:
        port = await server.enter_async_context(
            serve(demand, "127.0.0.1", 0, checks=ALLOW_EVERY_CALLER, repeat_after=NEVER, grace=NEVER)
        )
        async with connected(port) as keda:
            states, specs = keda.StreamIsActive(REF), keda.StreamMetricSpec(REF)
            await states.read()
            await specs.read()
            await server.aclose()
            assert await states.read() is grpc.aio.EOF
            assert await specs.read() is grpc.aio.EOF


async def test_a_client_that_goes_away_leaves_no_task_waiting(demand: Demand) -> None:
    tasks_before = asyncio.all_tasks()
    async with (
        serve(demand, "127.0.0.1", 0, checks=ALLOW_EVERY_CALLER, repeat_after=NEVER, grace=NEVER) as port,
        connected(port) as keda,
    ):
        await anext(aiter(keda.StreamIsActive(REF)))
    if remaining := asyncio.all_tasks() - tasks_before:
        # cancelled, they take a few iterations of the loop to end
        _, pending = await asyncio.wait(remaining, timeout=10)
        assert not pending


async def test_a_stream_whose_deployment_stays_unknown_ends_cleanly_after_a_while(
    demand: Demand, keda: rpc.ExternalScalerStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaler, "UNKNOWN_ENDS_AFTER", 0.01)
    assert await keda.StreamIsActive(UNKNOWN).read() is grpc.aio.EOF
    assert await keda.StreamMetricSpec(UNKNOWN).read() is grpc.aio.EOF


async def next_state(stream: Any) -> bool:
    """The next message of a stream that is read one by one."""
    answer: pb.IsActiveResponse = await stream.read()
    return answer.result


async def test_of_too_many_streams_for_one_deployment_the_oldest_ends_cleanly(
    demand: Demand, keda: rpc.ExternalScalerStub
) -> None:
    streams = []
    for _ in range(STREAMS_EACH + 1):
        streams.append(keda.StreamIsActive(REF))
        assert await next_state(streams[-1]) is False
    assert await streams[0].read() is grpc.aio.EOF
    specs = keda.StreamMetricSpec(REF)  # of another kind
    await specs.read()
    demand.report(LLAMA, BUSY)
    assert [await next_state(each) for each in streams[1:]] == [True] * STREAMS_EACH


async def test_a_cancelled_stream_makes_room_on_its_own(demand: Demand) -> None:
    async with (
        serve(demand, "127.0.0.1", 0, checks=ALLOW_EVERY_CALLER, repeat_after=NEVER) as port,
        connected(port) as keda,
    ):
        first = keda.StreamIsActive(REF)
        await first.read()
        for _ in range(3 * STREAMS_EACH):
            stream = keda.StreamIsActive(REF)
            await stream.read()
            stream.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stream.read()
            await keda.IsActive(REF)  # by the time this is answered, the server knows
        demand.report(LLAMA, BUSY)
        assert await next_state(first) is True


async def test_a_port_in_use_is_refused(demand: Demand) -> None:
    async with serve(demand, "127.0.0.1", 0, checks=ALLOW_EVERY_CALLER) as port:
        with pytest.raises(OSError, match=str(port)):
            async with serve(demand, "127.0.0.1", port, checks=ALLOW_EVERY_CALLER):
                pytest.fail("two servers share one port")
