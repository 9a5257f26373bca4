"""What is counted of KEDA's calls, refused ones included: it shows a scaler that KEDA doesn't reach."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc


@dataclass
class KedaCalls:
    """Lives as long as the activator. `clock` is monotonic."""

    by_code: Counter[str] = field(default_factory=Counter)  # calls that have ended, streams included
    streams: int = 0  # that are open
    used_places: Callable[[], float] = lambda: 0.0  # of those for known callers, the share that is taken
    clock: Callable[[], float] = time.monotonic
    answered_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.answered_at = self.clock()

    @property
    def age(self) -> float:
        """Seconds since a call was last answered, or a stream opened; since the start, if none was yet."""
        return self.clock() - self.answered_at

    def answered(self) -> None:
        self.answered_at = self.clock()

    @asynccontextmanager
    async def one(self, context: Any) -> AsyncIterator[None]:
        """Counts one call when it ends, by the code that the caller gets."""
        try:
            yield
        except asyncio.CancelledError:
            self.by_code[grpc.StatusCode.CANCELLED.name] += 1
            raise
        except grpc.aio.AbortError:
            self.by_code[_name(context.code())] += 1
            raise
        except Exception:
            self.by_code[grpc.StatusCode.UNKNOWN.name] += 1
            raise
        self.by_code[grpc.StatusCode.OK.name] += 1


class CallCounter(grpc.aio.ServerInterceptor):
    """Counts the calls of one service; it has to be the first interceptor."""

    def __init__(self, calls: KedaCalls, service: str) -> None:
        self._calls, self._service = calls, service

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        is_counted = details.method.rpartition("/")[0].removeprefix("/") == self._service
        return _counted(handler, self._calls) if handler and is_counted else handler


def _counted(handler: Any, calls: KedaCalls) -> Any:
    coding = {
        "request_deserializer": handler.request_deserializer,
        "response_serializer": handler.response_serializer,
    }
    if handler.unary_unary:

        async def answer(request: Any, context: Any) -> Any:
            async with calls.one(context):
                response = await handler.unary_unary(request, context)
            calls.answered()
            return response

        return grpc.unary_unary_rpc_method_handler(answer, **coding)

    async def stream(request: Any, context: Any) -> Any:
        is_first = True
        async with calls.one(context):
            async for each in handler.unary_stream(request, context):
                if is_first:  # later ones are sent by us, whether KEDA is still there or not
                    is_first = False
                    calls.answered()
                yield each

    return grpc.unary_stream_rpc_method_handler(stream, **coding)


def _name(code: Any) -> str:
    """gRPC keeps it as a number, or as its own enum."""
    found = code if isinstance(code, grpc.StatusCode) else _BY_NUMBER.get(code)
    return (found or grpc.StatusCode.UNKNOWN).name


_BY_NUMBER = {each.value[0]: each for each in grpc.StatusCode}
