"""The guard in an aiohttp app: a middleware, and the kind of answer that streams through it."""

import asyncio
from collections.abc import Mapping

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from slipway_runtime.guard import errors
from slipway_runtime.guard.errors import Refusal
from slipway_runtime.guard.gate import Gate
from slipway_runtime.guard.visit import Visit

VISIT = web.RequestKey("visit", Visit)
STREAM = web.RequestKey("stream", web.StreamResponse)


class EngineGone(Exception):  # noqa: N818 - it is what happened
    """The engine ended the connection before it answered."""


def guarded(gate: Gate) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        gate.watch()
        visit, refusal = gate.enter(request.method, request.path, request.headers)
        request[VISIT] = visit
        try:
            return _answer(refusal, visit) if refusal else await _handle(gate, request, handler)
        except asyncio.CancelledError:
            visit.reason = visit.reason or "client_gone"
            raise
        except Exception:
            visit.status, visit.reason = 500, "engine_error"
            raise
        finally:
            gate.leave(visit)

    return guard


class Stream(web.StreamResponse):
    """An answer in pieces. The guard sees each, and what the engine gave up on ends with an error."""

    def __init__(self, gate: Gate, request: web.Request, *, headers: Mapping[str, str], status: int = 200) -> None:
        visit = request[VISIT]
        visit.answer(status, headers.get(hdrs.CONTENT_TYPE, ""))
        super().__init__(status=status, headers={**headers, **_own_headers(visit)})
        self._gate = gate
        self._of = request
        request[STREAM] = self

    async def piece(self, body: bytes) -> bool:
        """Sends it; False if the guard has ended the answer instead."""
        visit = self._of[VISIT]
        if refusal := self._gate.piece(visit, body):
            if not self.prepared:
                raise Refused(refusal)
            await self.write(refusal.event())
            return False
        if not self.prepared:
            await self.prepare(self._of)
        await self.write(body)
        return True


class Refused(Exception):  # noqa: N818 - it is what happened
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


async def _handle(gate: Gate, request: web.Request, handler: Handler) -> web.StreamResponse:
    visit: Visit = request[VISIT]
    try:
        response = await handler(request)
    except asyncio.CancelledError:
        if not _cut_by_us(visit):
            raise
        return await _end(gate.cut(visit), request)
    except EngineGone:
        return await _end(gate.failed(visit), request)
    except Refused as refused:
        return _answer(refused.refusal, visit)
    except web.HTTPRequestEntityTooLarge:
        refusal = errors.too_large(gate.settings.max_body_bytes)
        gate.refuse(visit, refusal)
        return _answer(refusal, visit)
    except web.HTTPNotFound:
        refusal = errors.not_served(request.method, request.path)
        gate.refuse(visit, refusal)
        return _answer(refusal, visit)
    return _whole(gate, request, response)


def _whole(gate: Gate, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """An answer in one piece goes by; a stream has already."""
    visit = request[VISIT]
    if isinstance(response, web.Response) and isinstance(response.body, bytes):
        visit.answer(response.status, response.headers.get(hdrs.CONTENT_TYPE, ""))
        if refusal := gate.piece(visit, response.body):
            return _answer(refusal, visit)
        response.headers.update(_own_headers(visit))
    return response


async def _end(refusal: Refusal, request: web.Request) -> web.StreamResponse:
    """Tells the client, by whatever can still be told."""
    stream: web.StreamResponse | None = request.get(STREAM)
    if stream is None or not stream.prepared:
        return _answer(refusal, request[VISIT])
    if not request[VISIT].stream:
        _close(request)  # half an answer is no success
        return stream
    await stream.write(refusal.event())
    await stream.write_eof()
    return stream


def _answer(refusal: Refusal, visit: Visit) -> web.Response:
    headers = {**refusal.headers(), **_own_headers(visit)}
    response = web.Response(status=refusal.status, body=refusal.body(), headers=headers)
    if headers.get("connection") == "close":
        response.force_close()
    return response


def _own_headers(visit: Visit) -> dict[str, str]:
    return {"X-Request-Id": visit.request_id, "Traceparent": visit.trace.traceparent()}


def _close(request: web.Request) -> None:
    if request.transport:
        request.transport.abort()


def _cut_by_us(visit: Visit) -> bool:
    task = asyncio.current_task()
    return visit.cut and task is not None and task.uncancel() == 0
