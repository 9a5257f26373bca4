"""Who may ask on the port of KEDA and the other replicas, judged by the address that the call comes from.

Connections are judged, too, but only for how long they may stay (`entrance`): each call is judged anew.

KEDA's pods are asked after at the API server, so that labels and words of others count for nothing. The other replicas
are in the EndpointSlices of the activator's own Service, and the pod that is at such an address now must be the one
that is meant: addresses are given to others, and slices follow late.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import grpc

from slipway.kube.kinds import Object

UNIX = "unix-abstract:"  # before the name of a caller that comes through an abstract socket
HOLDS_FOR = 10.0  # seconds for which an address is taken for KEDA's without another question

AddressCheck = Callable[[str], Awaitable[bool | None]]
"""Of an address: whether its calls are answered; None: that can't be told now."""


class PodFinder(Protocol):
    async def pods_at(self, address: str) -> tuple[Object, ...] | None:
        """The pods that have this address now; None: the API server can't be asked."""


class CallerCheck:
    """`replicas`: the pods of the activator's own Service, by their addresses. `clock` is the event loop's."""

    def __init__(
        self,
        lookups: PodFinder,
        *,
        namespace: str,
        keda_namespace: str,
        replicas: Callable[[], Mapping[str, str]],
        clock: Callable[[], float],
    ) -> None:
        self._lookups, self._namespace, self._keda_namespace = lookups, namespace, keda_namespace
        self._replicas, self._clock = replicas, clock
        self._keda: dict[str, float] = {}  # its addresses, and when that was last seen

    async def is_keda(self, address: str) -> bool | None:
        """Who was it stays it while the API server is away."""
        if self._clock() - self._keda.get(address, float("-inf")) < HOLDS_FOR:
            return True
        pods = await self._lookups.pods_at(address)
        if pods is None:
            return True if address in self._keda else None
        found = any(pod["metadata"]["namespace"] == self._keda_namespace for pod in pods)
        if found:
            self._keda[address] = self._clock()
        else:
            self._keda.pop(address, None)
        return found

    async def is_replica(self, address: str) -> bool | None:
        name = self._replicas().get(address)
        if name is None:
            return False
        pods = await self._lookups.pods_at(address)
        if pods is None:
            return True  # as the slice says
        return any((pod["metadata"]["namespace"], pod["metadata"]["name"]) == (self._namespace, name) for pod in pods)


class CallerInterceptor(grpc.aio.ServerInterceptor):
    """`judges`: of each service, by its full name; nobody may ask for another. `caller` has the address of whoever
    calls by that name.
    """

    def __init__(self, judges: Mapping[str, AddressCheck], caller: Callable[[str], str]) -> None:
        self._judges, self._caller = judges, caller

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        judge = self._judges.get(details.method.rpartition("/")[0].removeprefix("/"))
        return handler and _judged(handler, judge or _nobody, self._caller)


def who_belongs(judges: Mapping[str, AddressCheck]) -> Callable[[str], Awaitable[bool]]:
    """Who may ask for something, whatever it is."""

    async def belongs(address: str) -> bool:
        for judge in judges.values():
            if await judge(address):
                return True
        return False

    return belongs


async def _nobody(address: str) -> bool | None:
    return False


def _judged(handler: Any, judge: AddressCheck, caller: Callable[[str], str]) -> Any:
    coding = {
        "request_deserializer": handler.request_deserializer,
        "response_serializer": handler.response_serializer,
    }
    if handler.unary_unary:

        async def answer(request: Any, context: Any) -> Any:
            await _admit(context, judge, caller)
            return await handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(answer, **coding)

    async def stream(request: Any, context: Any) -> Any:
        await _admit(context, judge, caller)
        async for each in handler.unary_stream(request, context):
            yield each

    return grpc.unary_stream_rpc_method_handler(stream, **coding)


async def _admit(context: Any, judge: AddressCheck, caller: Callable[[str], str]) -> None:
    """What is not answered is an error, which KEDA never takes for a reason to scale to zero."""
    address = caller(context.peer().removeprefix(UNIX))
    may_ask = bool(address) and await judge(address)
    if may_ask is None:
        told = f"Who asks from {address} can't be told now, because the API server doesn't answer: ask again."
        await context.abort(grpc.StatusCode.UNAVAILABLE, told)
    if not may_ask:
        told = f"{address} is no address of a pod that may ask this: the activator answers KEDA, and its own replicas."
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, told)
