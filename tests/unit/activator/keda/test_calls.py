"""KEDA's calls are counted by the code that it gets, and those of others by theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import grpc
import pytest
from slipway.activator.keda import scaler
from slipway.activator.keda._generated import externalscaler_pb2 as pb
from slipway.activator.keda._generated import externalscaler_pb2_grpc as rpc
from slipway.activator.keda.calls import KedaCalls
from slipway.activator.shared.demand import Demand, ModelDemand
from slipway.api.model_key import ModelKey

KNOWN = pb.ScaledObjectRef(namespace="chat", name="llama")
UNKNOWN = pb.ScaledObjectRef(namespace="chat", name="unknown")


@asynccontextmanager
async def served(calls: KedaCalls, *, is_keda: bool | None = True) -> AsyncIterator[rpc.ExternalScalerStub]:
    demand = Demand()
    demand.report(ModelKey("chat", "llama"), ModelDemand(active=True, waiting=1, target_per_replica=8))

    async def check(_: str) -> bool | None:
        return is_keda

    async with (
        scaler.serve(demand, "127.0.0.1", 0, checks={scaler.SERVICE: check}, calls=calls) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield rpc.ExternalScalerStub(channel)


async def until_counted(calls: KedaCalls, number: int) -> None:
    """The caller has its response a moment before the call has ended here."""
    async with asyncio.timeout(5):
        while calls.by_code.total() < number:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)


async def test_each_call_is_counted_by_its_code() -> None:
    calls = KedaCalls()
    async with served(calls) as keda:
        await keda.IsActive(KNOWN)
        await keda.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=KNOWN))
        with suppress(grpc.aio.AioRpcError):
            await keda.IsActive(UNKNOWN)
        await until_counted(calls, 3)
    assert calls.by_code == {"OK": 2, "NOT_FOUND": 1}


@pytest.mark.parametrize(("is_keda", "code"), [(False, "PERMISSION_DENIED"), (None, "UNAVAILABLE")])
async def test_another_caller_is_counted_and_is_not_taken_for_keda(is_keda: bool | None, code: str) -> None:
    time = iter(range(100))
    calls = KedaCalls(clock=lambda: next(time))
    async with served(calls, is_keda=is_keda) as stranger:
        with pytest.raises(grpc.aio.AioRpcError):
            await stranger.IsActive(KNOWN)
        with pytest.raises(grpc.aio.AioRpcError):
            await anext(aiter(stranger.StreamIsActive(KNOWN)))
        await until_counted(calls, 2)
    assert calls.by_code == {code: 2}
    assert calls.streams == 0
    assert calls.answered_at == 0  # of the start


async def test_an_answered_call_and_a_new_stream_show_that_keda_is_there_and_what_we_push_does_not() -> None:
    now = 100.0
    calls = KedaCalls(clock=lambda: now)
    async with served(calls) as keda:
        now = 150.0
        assert calls.age == 50
        await keda.IsActive(KNOWN)
        assert calls.age == 0
        stream = keda.StreamIsActive(KNOWN)
        pushed = aiter(stream)
        now = 200.0
        await anext(pushed)
        assert (calls.age, calls.streams) == (0, 1)
        now = 250.0
        await anext(pushed)  # it is repeated while it is true
        assert calls.age == 50
        stream.cancel()
        await until_counted(calls, 2)
    assert (calls.streams, calls.by_code) == (0, {"OK": 1, "CANCELLED": 1})
