"""Answers KEDA's external-push calls (externalscaler.proto) from a `Demand`.

What KEDA does with the answers decides how they are given:
- A pushed `true` scales from zero at once, but is dropped until KEDA has reconciled the ScaledObject, so it is said
  again and again while it holds. A pushed `false` counts for nothing: KEDA goes to zero only when it polls `IsActive`.
- An error never scales to zero. So what is not known is an error when KEDA polls, and never `false`.
- A stream that breaks is opened again after up to a minute, one that ends cleanly after two seconds. So streams are
  ended before the server stops, and those of deployments that are not known yet say nothing until they are; after a
  while, they end.
- KEDA has one connection for each spelling of our address, with two streams for each ScaledObject that names it so. A
  restart of it may leave some behind that nobody hears, so of too many for one deployment, the oldest ends.
- The namespace that KEDA asks for is the ScaledObject's own, whatever else that says. So it is told to whoever decides
  which of KEDA's connections stay.
"""
# ruff: noqa: N802 - the methods have KEDA's names

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import grpc

from slipway.activator.keda._generated import externalscaler_pb2 as pb
from slipway.activator.keda._generated import externalscaler_pb2_grpc as rpc
from slipway.activator.keda.caller_check import UNIX, AddressCheck, CallerInterceptor, who_belongs
from slipway.activator.shared.demand import Demand, ModelDemand, UnknownModelError
from slipway.activator.shared.model_key import ModelKey
from slipway.process.entrance import Entrance

log = logging.getLogger(__name__)

SERVICE: str = pb.DESCRIPTOR.services_by_name["ExternalScaler"].full_name
METRIC = "requests"
ANY_TARGET = 1.0  # for a deployment not known yet: KEDA needs some target to begin with, and gets no value to compare

UNKNOWN_ENDS_AFTER = 60.0  # seconds
STREAMS_EACH = 4  # of a deployment and of a kind: two of KEDA's replicas, and those that they are about to open anew
STRANGERS_SAY = 1500  # bytes of a connection: enough to be told that it is refused; each call begun takes 15 kB here
OPTIONS = (
    ("grpc.max_concurrent_streams", 32_768),  # of one connection: two streams for each port, and the polls
    ("grpc.max_receive_message_length", 64 << 10),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.keepalive_time_ms", 30_000),  # finds those that are gone without a word
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)

Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")

CameFor = Callable[[str, str], None]
"""The name by which somebody calls, and the namespace of a model that is served here, for which it was answered."""


def nobody_counts(_: str, __: str) -> None:
    pass


class ExternalScaler(rpc.ExternalScalerServicer):
    """To be made inside the event loop that serves it."""

    def __init__(self, demand: Demand, *, repeat_after: float = 0.2, came_for: CameFor = nobody_counts) -> None:
        """`repeat_after`: the seconds after which a stream says `true` again, while it holds."""
        self._demand = demand
        self._came_for = came_for
        self._repeat_after = repeat_after
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._streams: defaultdict[tuple[str, ModelKey], deque[asyncio.Future[None]]] = defaultdict(deque)

    def end_streams(self) -> None:
        """Lets every stream end in good order, those opened later too."""
        if not self._ended.done():
            self._ended.set_result(None)

    async def IsActive(self, request: pb.ScaledObjectRef, context: Context) -> pb.IsActiveResponse:
        async with _unknown_is_an_error(context):
            return pb.IsActiveResponse(result=self._wanted(request, context).active)

    async def GetMetrics(self, request: pb.GetMetricsRequest, context: Context) -> pb.GetMetricsResponse:
        async with _unknown_is_an_error(context):
            requests = self._wanted(request.scaledObjectRef, context).requests
            return pb.GetMetricsResponse(metricValues=[pb.MetricValue(metricName=METRIC, metricValueFloat=requests)])

    async def GetMetricSpec(self, request: pb.ScaledObjectRef, context: Context) -> pb.GetMetricSpecResponse:
        """Answers for unknown deployments too: without a spec KEDA makes no HPA, and drops every push."""
        try:
            return _spec(self._wanted(request, context).target_per_replica)
        except UnknownModelError:
            return _spec(ANY_TARGET)

    async def StreamIsActive(self, request: pb.ScaledObjectRef, context: Context) -> AsyncIterator[pb.IsActiveResponse]:
        deployment, was_active = _deployment(request), False
        with self._stream("active", deployment) as ended:
            async for active in self._readings(deployment, _active, ended, repeat=lambda active: active):
                if active and not was_active:
                    log.info("KEDA is told that replicas are wanted", extra={"key": str(deployment)})
                was_active = active
                self._count(deployment, context)
                yield pb.IsActiveResponse(result=active)

    async def StreamMetricSpec(
        self, request: pb.ScaledObjectRef, context: Context
    ) -> AsyncIterator[pb.GetMetricSpecResponse]:
        deployment = _deployment(request)
        with self._stream("target", deployment) as ended:
            async for target in self._readings(deployment, _target, ended, repeat=lambda _: False):
                self._count(deployment, context)
                yield _spec(target)

    def _wanted(self, ref: pb.ScaledObjectRef, context: Context) -> ModelDemand:
        deployment = _deployment(ref)
        wanted = self._demand.of(deployment)
        self._count(deployment, context)
        return wanted

    def _count(self, deployment: ModelKey, context: Context) -> None:
        self._came_for(context.peer().removeprefix(UNIX), deployment.namespace)

    @contextmanager
    def _stream(self, kind: str, deployment: ModelKey) -> Iterator[asyncio.Future[None]]:
        """A new one; what is yielded is done when it has to end."""
        streams = self._streams[kind, deployment]
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        streams.append(ended)
        if len(streams) > STREAMS_EACH:
            streams.popleft().set_result(None)
        try:
            yield ended
        finally:
            if ended in streams:
                streams.remove(ended)
            if not streams:
                self._streams.pop((kind, deployment), None)

    async def _readings(
        self,
        deployment: ModelKey,
        read: Callable[[ModelDemand], T],
        ended: asyncio.Future[None],
        *,
        repeat: Callable[[T], bool],
    ) -> AsyncIterator[T]:
        """What `read` makes of the demand: now, at each change, and again and again if it is to be repeated."""
        ends = (ended, self._ended)
        last: T | None = None
        while not any(end.done() for end in ends):
            before = last
            last = await self._next(deployment, read, before, self._again_after(before, repeat), ends)
            if last is None and before is None:
                return
            if last is not None and not any(end.done() for end in ends):
                yield last

    def _again_after(self, last: T | None, repeat: Callable[[T], bool]) -> float | None:
        if last is None:
            return UNKNOWN_ENDS_AFTER
        return self._repeat_after if repeat(last) else None

    async def _next(
        self,
        deployment: ModelKey,
        read: Callable[[ModelDemand], T],
        last: T | None,
        again_after: float | None,
        ends: Sequence[asyncio.Future[None]],
    ) -> T | None:
        """The next reading that differs from the last, or that again when it is time to; None: nothing is known."""
        change = asyncio.create_task(
            self._demand.until_known(deployment)
            if last is None
            else self._demand.until(deployment, lambda wanted: read(wanted) != last)
        )
        either: list[asyncio.Future[Any]] = [change, *ends]
        try:
            await asyncio.wait(either, timeout=again_after, return_when=asyncio.FIRST_COMPLETED)
            return read(change.result()) if change.done() else last
        except UnknownModelError:
            return None
        finally:
            change.cancel()


@asynccontextmanager
async def serve(
    demand: Demand,
    host: str | None,
    port: int,
    *,
    repeat_after: float = 0.2,
    grace: float = 5.0,
    beside: Callable[[grpc.aio.Server], None] = lambda server: None,
    judges: Mapping[str, AddressCheck],
) -> AsyncIterator[int]:
    """Answers KEDA on the port (0: any free one) and yields its number; calls get `grace` seconds to end.

    `beside` adds what else is to be answered there. `judges` say who may ask, of each service.
    """
    entrance = Entrance(who_belongs(judges), few_words=STRANGERS_SAY)
    server = grpc.aio.server(options=OPTIONS, interceptors=[CallerInterceptor(judges, entrance.address)])
    scaler = ExternalScaler(demand, repeat_after=repeat_after, came_for=entrance.came_for)
    rpc.add_ExternalScalerServicer_to_server(scaler, server)
    beside(server)
    server.add_insecure_port(f"{UNIX}{entrance.behind}")
    await server.start()
    try:
        yield await entrance.open(host, port)
    finally:
        entrance.shut()
        scaler.end_streams()
        await server.stop(grace)
        await entrance.close()


@asynccontextmanager
async def _unknown_is_an_error(context: Context) -> AsyncIterator[None]:
    try:
        yield
    except UnknownModelError as unknown:
        await context.abort(grpc.StatusCode.NOT_FOUND, str(unknown))


def _deployment(ref: pb.ScaledObjectRef) -> ModelKey:
    return ModelKey(ref.namespace, ref.name)


def _active(wanted: ModelDemand) -> bool:
    return wanted.active


def _target(wanted: ModelDemand) -> float:
    return wanted.target_per_replica


def _spec(target: float) -> pb.GetMetricSpecResponse:
    return pb.GetMetricSpecResponse(metricSpecs=[pb.MetricSpec(metricName=METRIC, targetSizeFloat=target)])
