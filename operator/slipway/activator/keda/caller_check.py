"""Which calls are answered on the port of KEDA and the other replicas, by the address that they are from.

Connections are checked, too, but only for how long they may stay (`guarded_port`): each call is checked again.

KEDA's pods are looked up at the API server, so that others can't pretend to be KEDA. The other replicas are in the
EndpointSlices of the activator's own Service, and the pod that has such an address now must be the one in the slice:
addresses are reused, and slices are updated late.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import grpc

from slipway.objects.kinds import Object

UNIX = "unix-abstract:"  # before the name of a caller that is connected through an abstract socket
HOLDS_FOR = 10.0  # seconds for which an address counts as KEDA's without another query

AddressCheck = Callable[[str], Awaitable[bool | None]]
"""Whether calls from an address are answered; None: that can't be looked up now."""


class PodFinder(Protocol):
    async def pods_at(self, address: str) -> tuple[Object, ...] | None:
        """The pods that have this address now; None: they can't be looked up."""


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
        self._keda: dict[str, float] = {}  # its addresses, and when that was last confirmed

    async def is_keda(self, address: str) -> bool | None:
        """An address that was KEDA's stays KEDA's while the API server is away."""
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
    """`checks`: for each service, by its full name; calls of another one are refused. `address_of` returns the address
    of a caller by its name.
    """

    def __init__(self, checks: Mapping[str, AddressCheck], address_of: Callable[[str], str]) -> None:
        self._checks, self._address_of = checks, address_of

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        check = self._checks.get(details.method.rpartition("/")[0].removeprefix("/"))
        return handler and _checked(handler, check or _no_one, self._address_of)


def any_check(checks: Mapping[str, AddressCheck]) -> Callable[[str], Awaitable[bool]]:
    """Whether an address may call any of the services."""

    async def may_call(address: str) -> bool:
        for check in checks.values():
            if await check(address):
                return True
        return False

    return may_call


async def _no_one(address: str) -> bool | None:
    return False


def _checked(handler: Any, check: AddressCheck, address_of: Callable[[str], str]) -> Any:
    coding = {
        "request_deserializer": handler.request_deserializer,
        "response_serializer": handler.response_serializer,
    }
    if handler.unary_unary:

        async def answer(request: Any, context: Any) -> Any:
            await _admit(context, check, address_of)
            return await handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(answer, **coding)

    async def stream(request: Any, context: Any) -> Any:
        await _admit(context, check, address_of)
        async for each in handler.unary_stream(request, context):
            yield each

    return grpc.unary_stream_rpc_method_handler(stream, **coding)


async def _admit(context: Any, check: AddressCheck, address_of: Callable[[str], str]) -> None:
    """A call that isn't answered gets an error, for which KEDA never scales to zero."""
    address = address_of(context.peer().removeprefix(UNIX))
    may_call = bool(address) and await check(address)
    if may_call is None:
        message = f"The caller at {address} can't be looked up now, because the API server doesn't answer: try again."
        await context.abort(grpc.StatusCode.UNAVAILABLE, message)
    if not may_call:
        message = f"No pod at {address} may call this: the activator answers KEDA and its own replicas only."
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, message)
