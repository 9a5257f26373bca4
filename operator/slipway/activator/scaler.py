"""Answers KEDA's external-push calls (externalscaler.proto) from a `Demand`.

What KEDA does with the answers decides how they are given:
- A pushed `true` scales from zero at once, but is dropped until KEDA has reconciled the ScaledObject, so it is said
  again and again while it holds. A pushed `false` counts for nothing: KEDA goes to zero only when it polls `IsActive`.
- An error never scales to zero. So what is not known is an error when KEDA polls, and never `false`.
- A stream that breaks is opened again after up to a minute, one that ends cleanly after two seconds. So streams are
  ended before the server stops, and those of deployments that are not known yet say nothing until they are.
"""
# ruff: noqa: N802 - the methods have KEDA's names

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc

from slipway.activator._generated import externalscaler_pb2 as pb
from slipway.activator._generated import externalscaler_pb2_grpc as rpc
from slipway.activator.demand import Demand, Deployment, UnknownDeploymentError, Wanted

log = logging.getLogger(__name__)

METRIC = "requests"
ANY_TARGET = 1.0  # for a deployment not known yet: KEDA needs some target to begin with, and gets no value to compare

Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")


class ExternalScaler(rpc.ExternalScalerServicer):
    """To be made inside the event loop that serves it."""

    def __init__(self, demand: Demand, *, repeat_after: float = 0.2) -> None:
        """`repeat_after`: the seconds after which a stream says `true` again, while it holds."""
        self._demand = demand
        self._repeat_after = repeat_after
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end_streams(self) -> None:
        """Lets every stream end in good order, those opened later too."""
        if not self._ended.done():
            self._ended.set_result(None)

    async def IsActive(self, request: pb.ScaledObjectRef, context: Context) -> pb.IsActiveResponse:
        async with _unknown_is_an_error(context):
            return pb.IsActiveResponse(result=self._wanted(request).active)

    async def GetMetrics(self, request: pb.GetMetricsRequest, context: Context) -> pb.GetMetricsResponse:
        async with _unknown_is_an_error(context):
            requests = self._wanted(request.scaledObjectRef).requests
            return pb.GetMetricsResponse(metricValues=[pb.MetricValue(metricName=METRIC, metricValueFloat=requests)])

    async def GetMetricSpec(self, request: pb.ScaledObjectRef, context: Context) -> pb.GetMetricSpecResponse:
        """Answers for unknown deployments too: without a spec KEDA makes no HPA, and drops every push."""
        try:
            return _spec(self._wanted(request).target_per_replica)
        except UnknownDeploymentError:
            return _spec(ANY_TARGET)

    async def StreamIsActive(self, request: pb.ScaledObjectRef, context: Context) -> AsyncIterator[pb.IsActiveResponse]:
        deployment, was_active = _deployment(request), False
        async for active in self._readings(deployment, _active, repeat=lambda active: active):
            if active and not was_active:
                log.info("KEDA is told that replicas are wanted", extra={"key": str(deployment)})
            was_active = active
            yield pb.IsActiveResponse(result=active)

    async def StreamMetricSpec(
        self, request: pb.ScaledObjectRef, context: Context
    ) -> AsyncIterator[pb.GetMetricSpecResponse]:
        async for target in self._readings(_deployment(request), _target, repeat=lambda _: False):
            yield _spec(target)

    def _wanted(self, ref: pb.ScaledObjectRef) -> Wanted:
        return self._demand.of(_deployment(ref))

    async def _readings(
        self, deployment: Deployment, read: Callable[[Wanted], T], *, repeat: Callable[[T], bool]
    ) -> AsyncIterator[T]:
        """What `read` makes of the demand: now, at each change, and again and again if it is to be repeated."""
        last: T | None = None
        while not self._ended.done():
            again_after = self._repeat_after if last is not None and repeat(last) else None
            last = await self._next(deployment, read, last, again_after)
            if last is not None and not self._ended.done():
                yield last

    async def _next(
        self, deployment: Deployment, read: Callable[[Wanted], T], last: T | None, again_after: float | None
    ) -> T | None:
        """The next reading that differs from the last, or that again when it is time to; None: nothing is known."""
        change = asyncio.create_task(
            self._demand.until_known(deployment)
            if last is None
            else self._demand.until(deployment, lambda wanted: read(wanted) != last)
        )
        either: list[asyncio.Future[Any]] = [change, self._ended]
        try:
            await asyncio.wait(either, timeout=again_after, return_when=asyncio.FIRST_COMPLETED)
            return read(change.result()) if change.done() else last
        except UnknownDeploymentError:
            return None
        finally:
            change.cancel()


@asynccontextmanager
async def serve(
    demand: Demand,
    address: str,
    *,
    repeat_after: float = 0.2,
    grace: float = 5.0,
    beside: Callable[[grpc.aio.Server], None] = lambda server: None,
) -> AsyncIterator[int]:
    """Answers KEDA on the address (port 0: any free one) and yields the port; calls get `grace` seconds to end.

    `beside` adds what else is to be answered there.
    """
    # Without this option a second server on the port would take half of the calls, instead of being refused.
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    scaler = ExternalScaler(demand, repeat_after=repeat_after)
    rpc.add_ExternalScalerServicer_to_server(scaler, server)
    beside(server)
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield port
    finally:
        scaler.end_streams()
        await server.stop(grace)


@asynccontextmanager
async def _unknown_is_an_error(context: Context) -> AsyncIterator[None]:
    try:
        yield
    except UnknownDeploymentError as unknown:
        await context.abort(grpc.StatusCode.NOT_FOUND, str(unknown))


def _deployment(ref: pb.ScaledObjectRef) -> Deployment:
    return Deployment(ref.namespace, ref.name)


def _active(wanted: Wanted) -> bool:
    return wanted.active


def _target(wanted: Wanted) -> float:
    return wanted.target_per_replica


def _spec(target: float) -> pb.GetMetricSpecResponse:
    return pb.GetMetricSpecResponse(metricSpecs=[pb.MetricSpec(metricName=METRIC, targetSizeFloat=target)])
