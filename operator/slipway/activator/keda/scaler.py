"""Answers KEDA's external-push calls (externalscaler.proto) from a `Demand`.

What KEDA does with the answers decides how they are given:
- A pushed `true` scales from zero immediately, but is dropped until KEDA has reconciled the ScaledObject, so it is
  repeated while it is true. A pushed `false` has no effect: KEDA scales to zero only when it polls `IsActive`.
- An error never scales to zero. So for a model that is not known, a poll gets an error, and never `false`.
- A stream that breaks is opened again after up to a minute, one that ends cleanly after two seconds. So streams are
  ended before the server stops, and those of models that are not known yet send nothing until they are; after a while,
  they end.
- KEDA has one connection for each spelling of our address, with two streams for each ScaledObject that uses it. After a
  restart of KEDA, old ones may be left; so of too many streams for one model, the oldest ends.
- The namespace in a call of KEDA is always the ScaledObject's own. So it is used to decide which of KEDA's connections
  stay (`guarded_port`).
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
from slipway.activator.keda.caller_check import UNIX, AddressCheck, CallerInterceptor, any_check
from slipway.activator.keda.calls import CallCounter, KedaCalls
from slipway.activator.shared.demand import Demand, ModelDemand, UnknownModelError
from slipway.api.model_key import ModelKey
from slipway.process.guarded_port import GuardedPort

logger = logging.getLogger(__name__)

PUSHED = "KEDA gets a push: replicas are needed"
"""Logged once for each wake; `benchmarks/wake.py` reads its time."""

SERVICE: str = pb.DESCRIPTOR.services_by_name["ExternalScaler"].full_name
METRIC = "requests"
ANY_TARGET = 1.0  # for a model that isn't known yet: KEDA needs a target at first, and gets no value to compare with it

UNKNOWN_ENDS_AFTER = 60.0  # seconds
STREAMS_EACH = 4  # of a model and of a kind: two of KEDA's replicas, and those that they are about to open again
UNKNOWN_MAY_SEND = 1500  # bytes on a connection: enough for a call that is refused; each call takes 15 kB here
GRPC_OPTIONS = (
    ("grpc.max_concurrent_streams", 32_768),  # of one connection: two streams for each port, and the polls
    ("grpc.max_receive_message_length", 64 << 10),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.keepalive_time_ms", 30_000),  # finds peers that are gone without notice
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)

Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")

OnAnswered = Callable[[str, str], None]
"""Called with the name of a caller, and the namespace of the model for which it was answered."""


def ignore(_: str, __: str) -> None:
    pass


class ExternalScaler(rpc.ExternalScalerServicer):
    """To be made inside the event loop that serves it."""

    def __init__(
        self,
        demand: Demand,
        *,
        repeat_after: float = 0.2,
        on_answered: OnAnswered = ignore,
        calls: KedaCalls | None = None,
    ) -> None:
        """`repeat_after`: the seconds after which a stream sends `true` again, while it is true."""
        self._demand = demand
        self._calls = calls or KedaCalls()
        self._on_answered = on_answered
        self._repeat_after = repeat_after
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._streams: defaultdict[tuple[str, ModelKey], deque[asyncio.Future[None]]] = defaultdict(deque)

    def end_streams(self) -> None:
        """Ends every stream cleanly, also those that are opened later."""
        if not self._ended.done():
            self._ended.set_result(None)

    async def IsActive(self, request: pb.ScaledObjectRef, context: Context) -> pb.IsActiveResponse:
        async with _unknown_is_an_error(context):
            return pb.IsActiveResponse(result=self._demand_of(request, context).active)

    async def GetMetrics(self, request: pb.GetMetricsRequest, context: Context) -> pb.GetMetricsResponse:
        async with _unknown_is_an_error(context):
            requests = self._demand_of(request.scaledObjectRef, context).requests
            return pb.GetMetricsResponse(metricValues=[pb.MetricValue(metricName=METRIC, metricValueFloat=requests)])

    async def GetMetricSpec(self, request: pb.ScaledObjectRef, context: Context) -> pb.GetMetricSpecResponse:
        """Also for unknown models: without a spec, KEDA creates no HPA, and drops every push."""
        try:
            return _spec(self._demand_of(request, context).target_per_replica)
        except UnknownModelError:
            return _spec(ANY_TARGET)

    async def StreamIsActive(self, request: pb.ScaledObjectRef, context: Context) -> AsyncIterator[pb.IsActiveResponse]:
        key, was_active = _key(request), False
        with self._stream("active", key) as ended:
            async for active in self._readings(key, _active, ended, repeat=lambda active: active):
                if active and not was_active:
                    logger.info(PUSHED, extra={"key": str(key)})
                was_active = active
                self._report_answered(key, context)
                yield pb.IsActiveResponse(result=active)

    async def StreamMetricSpec(
        self, request: pb.ScaledObjectRef, context: Context
    ) -> AsyncIterator[pb.GetMetricSpecResponse]:
        key = _key(request)
        with self._stream("target", key) as ended:
            async for target in self._readings(key, _target, ended, repeat=lambda _: False):
                self._report_answered(key, context)
                yield _spec(target)

    def _demand_of(self, ref: pb.ScaledObjectRef, context: Context) -> ModelDemand:
        key = _key(ref)
        demand = self._demand.of(key)
        self._report_answered(key, context)
        return demand

    def _report_answered(self, key: ModelKey, context: Context) -> None:
        self._on_answered(context.peer().removeprefix(UNIX), key.namespace)

    @contextmanager
    def _stream(self, kind: str, key: ModelKey) -> Iterator[asyncio.Future[None]]:
        """Registers a stream; the future that is yielded is done when the stream has to end."""
        streams = self._streams[kind, key]
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        streams.append(ended)
        self._calls.streams += 1
        if len(streams) > STREAMS_EACH:
            streams.popleft().set_result(None)
        try:
            yield ended
        finally:
            self._calls.streams -= 1
            if ended in streams:
                streams.remove(ended)
            if not streams:
                self._streams.pop((kind, key), None)

    async def _readings(
        self,
        key: ModelKey,
        read: Callable[[ModelDemand], T],
        ended: asyncio.Future[None],
        *,
        repeat: Callable[[T], bool],
    ) -> AsyncIterator[T]:
        """What `read` returns for the demand: now, at each change, and repeatedly if `repeat` says so."""
        ends = (ended, self._ended)
        last: T | None = None
        while not any(end.done() for end in ends):
            before = last
            last = await self._next(key, read, before, self._again_after(before, repeat), ends)
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
        key: ModelKey,
        read: Callable[[ModelDemand], T],
        last: T | None,
        again_after: float | None,
        ends: Sequence[asyncio.Future[None]],
    ) -> T | None:
        """The next reading that differs from the last one, or the last one when it has to be repeated. None: the model
        is unknown."""
        change = asyncio.create_task(
            self._demand.until_known(key)
            if last is None
            else self._demand.until(key, lambda demand: read(demand) != last)
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
    add_services: Callable[[grpc.aio.Server], None] = lambda server: None,
    checks: Mapping[str, AddressCheck],
    calls: KedaCalls | None = None,
) -> AsyncIterator[int]:
    """Answers KEDA on the port (0: any free one) and yields its number; calls get `grace` seconds to end.

    `add_services` adds what else is served there. `checks`: which addresses may call each service.
    `calls`: what is counted of KEDA's.
    """
    calls = calls or KedaCalls()
    port_guard = GuardedPort(any_check(checks), few_words=UNKNOWN_MAY_SEND)
    calls.used_places = lambda: port_guard.used_by_known
    interceptors = [CallCounter(calls, SERVICE), CallerInterceptor(checks, port_guard.address)]
    server = grpc.aio.server(options=GRPC_OPTIONS, interceptors=interceptors)
    scaler = ExternalScaler(demand, repeat_after=repeat_after, on_answered=port_guard.came_for, calls=calls)
    rpc.add_ExternalScalerServicer_to_server(scaler, server)
    add_services(server)
    server.add_insecure_port(f"{UNIX}{port_guard.behind}")
    await server.start()
    try:
        yield await port_guard.open(host, port)
    finally:
        port_guard.shut()
        scaler.end_streams()
        await server.stop(grace)
        await port_guard.close()


@asynccontextmanager
async def _unknown_is_an_error(context: Context) -> AsyncIterator[None]:
    try:
        yield
    except UnknownModelError as unknown:
        await context.abort(grpc.StatusCode.NOT_FOUND, str(unknown))


def _key(ref: pb.ScaledObjectRef) -> ModelKey:
    return ModelKey(ref.namespace, ref.name)


def _active(demand: ModelDemand) -> bool:
    return demand.active


def _target(demand: ModelDemand) -> float:
    return demand.target_per_replica


def _spec(target: float) -> pb.GetMetricSpecResponse:
    return pb.GetMetricSpecResponse(metricSpecs=[pb.MetricSpec(metricName=METRIC, targetSizeFloat=target)])
