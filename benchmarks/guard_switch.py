"""The guard as a middleware that a request can bypass by a header, so that one engine process serves both."""

from __future__ import annotations

from types import SimpleNamespace

from slipway_runtime.guard.asgi import VISIT, Guard
from slipway_runtime.guard.exchange import App, Receive, Scope, Send
from slipway_runtime.guard.gate import Gate

AROUND = "x-around-the-guard"


class Switch:
    def __init__(self, app: App, gate: Gate | None = None) -> None:
        self._app, self._guard = app, Guard(app, gate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and any(name == AROUND.encode() for name, _ in scope["headers"]):
            scope[VISIT] = SimpleNamespace(work=True, memory=0, prompts=1, answers=1)  # what llama.cpp's app reads
            await self._app(scope, receive, send)
        else:
            await self._guard(scope, receive, send)
