"""The guard as ASGI middleware: `vllm serve --middleware slipway_runtime.guard.asgi.Guard`.

It runs before everything that the app serves; the app sees only requests that the guard has admitted.
"""

import asyncio
import json
from functools import cache
from typing import Any

from slipway_runtime.contract.hold import HOLD_HEADER
from slipway_runtime.guard.errors import ErrorResponse
from slipway_runtime.guard.exchange import App, Exchange, Message, Receive, Scope, Send
from slipway_runtime.guard.gate import Gate
from slipway_runtime.guard.routes import MODELS, ONE_MODEL
from slipway_runtime.guard.visit import Visit

__all__ = ["VISIT", "App", "EngineGone", "Guard", "Message", "Receive", "Scope", "Send"]

HOLD = HOLD_HEADER.encode()
VISIT = "slipway.visit"
"""The key in a request's scope under which its `Visit` is."""

POLICY_VIOLATION = 1008  # the close code of a refused WebSocket


class EngineGone(Exception):  # noqa: N818 - it is what happened
    """An app raises it when its engine has closed the connection before the response was complete."""


class Guard:
    def __init__(self, app: App, gate: Gate | None = None) -> None:
        self._app = app
        self._gate = gate or _gate_of_this_process()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate.start_sync()
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "websocket":
                await self._websocket(scope, receive, send)
            case _:
                await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate = self._gate
        headers = _headers(scope)
        visit, refusal = gate.enter(scope["method"], _path(scope), headers, client=_client(scope))
        exchange = Exchange(gate, visit, receive, send)
        try:
            if refusal:
                await exchange.refuse(refusal)
            elif await exchange.take_body(headers.get("content-type", "")) and await exchange.admitted():
                asked = _asked_of_the_engine(scope, visit, traced=gate.traces(visit))
                if visit.path == ONE_MODEL:
                    await exchange.send_model(_path(scope).rpartition("/")[2], await self._models(asked, exchange))
                else:
                    await self._app(asked, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if not (refusal := _why_it_was_cut(visit)):
                visit.client_left()
                raise
            gate.refuse(visit, refusal)
            await exchange.refuse(refusal)
        except EngineGone:
            await exchange.refuse(gate.failed(visit))
        except Exception as error:
            # The server would answer in a form of its own, and without our headers.
            if exchange.is_half_sent:
                visit.status, visit.reason = 500, "engine_error"
                raise
            await exchange.refuse(gate.broken(visit, error))
        finally:
            gate.leave(visit)

    async def _models(self, asked: Scope, exchange: Exchange) -> dict[str, Any]:
        """Returns all models that the engine lists, by name: every engine serves the list, not every one a path for one
        model."""
        said = bytearray()

        async def hear(message: Message) -> None:
            said.extend(message.get("body", b""))

        root = str(asked.get("root_path", ""))
        await self._app({**asked, "path": root + MODELS, "raw_path": (root + MODELS).encode()}, exchange.receive, hear)
        try:
            return {str(each["id"]): each for each in json.loads(said)["data"]}
        except (ValueError, KeyError, TypeError) as error:
            raise EngineGone(f"It doesn't list its models: {error!r}") from None

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit, refusal = self._gate.enter("GET", _path(scope), _headers(scope), client=_client(scope))
        try:
            if refusal:
                await receive()  # the client's request to connect
                await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal.code})
            else:
                visit.status = 101
                await self._app(scope, receive, send)
        finally:
            self._gate.leave(visit)


@cache
def _gate_of_this_process() -> Gate:
    return Gate.from_environment()


def _path(scope: Scope) -> str:
    """Returns the path as the app's routes have it, without the prefix under which the app was mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(root + "/") else path


def _client(scope: Scope) -> str:
    """Returns the address that the connection comes from; an empty string if there is none."""
    return str((scope.get("client") or ("",))[0])


def _headers(scope: Scope) -> dict[str, str]:
    """Returns the headers; of one that occurs more than once, the first."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


def _asked_of_the_engine(scope: Scope, visit: Visit, *, traced: bool) -> Scope:
    """Returns the scope for the engine: its log lines carry our request id, and its span is a child of ours.

    Where we send no span, a client's trace context passes unchanged. Not every engine answers HEAD, so it becomes GET;
    the server drops the response's body because its own scope still says HEAD.
    """
    ours = {b"x-request-id": visit.request_id.encode()}
    if traced:
        ours[b"traceparent"] = visit.trace.traceparent().encode()
    headers = [*(pair for pair in scope["headers"] if pair[0] not in ours and pair[0] != HOLD), *ours.items()]
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    return {**scope, VISIT: visit, "headers": headers, "method": method}


def _why_it_was_cut(visit: Visit) -> ErrorResponse | None:
    """Returns the reason if the guard has cancelled the request; None if another party has, or both have."""
    task = asyncio.current_task()
    return visit.cut if visit.cut and task is not None and task.uncancel() == 0 else None
