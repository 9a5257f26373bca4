"""The pod's own port: probes for the kubelet, facts for people and the operator, and all metrics in one scrape.

`/readyz?wait=10` answers as soon as the engine is ready, or after 10 s: who holds requests learns of it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Protocol

from aiohttp import web

from .state import State

LONGEST_WAIT = 60.0
MOST_CONNECTIONS = 128
KEEP_ALIVE = 75.0  # seconds
BETWEEN_LOOKS = 1.0
HOW_TO_WAIT = f"wait must be a number of seconds from 0 to {LONGEST_WAIT:g}, as in /readyz?wait=10"


class Watched(Protocol):
    """What the port tells of."""

    @property
    def state(self) -> State: ...
    @property
    def has_started(self) -> bool: ...
    @property
    def is_ready(self) -> bool: ...
    @property
    def trouble(self) -> str | None: ...
    @property
    def phase(self) -> str: ...
    async def until_ready(self, within: float) -> None: ...
    def info(self) -> Mapping[str, object]: ...
    async def metrics(self) -> str: ...


Handler = Callable[[web.Request], Awaitable[web.Response]]


def application(watched: Watched) -> web.Application:
    def said(good: bool) -> web.Response:
        told = f"{watched.state}, phase {watched.phase}" + (f": {watched.trouble}" if watched.trouble else "")
        return web.Response(text=f"{told}\n", status=200 if good else 503)

    async def startupz(_: web.Request) -> web.Response:
        return said(watched.has_started)

    async def readyz(request: web.Request) -> web.Response:
        seconds = _seconds(request.query.get("wait", "0"))
        if seconds is None:
            return web.Response(text=f"{HOW_TO_WAIT}, and not {request.query['wait']!r}\n", status=400)
        await watched.until_ready(within=seconds)
        return said(watched.is_ready)

    async def livez(_: web.Request) -> web.Response:
        return said(watched.trouble is None)

    async def info(_: web.Request) -> web.Response:
        return web.json_response(watched.info())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=await watched.metrics(), content_type="text/plain", charset="utf-8")

    app = web.Application()
    for handler in (startupz, readyz, livez, info, metrics):
        app.router.add_get(f"/{handler.__name__}", handler)
    return app


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(seconds, LONGEST_WAIT) if math.isfinite(seconds) and seconds >= 0 else None


async def listen(watched: Watched, *, host: str, port: int) -> web.AppRunner:
    app = application(watched)
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, shutdown_timeout=0.1, keepalive_timeout=KEEP_ALIVE
    )

    async def keep_few(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(_keep_few(runner))
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    app.cleanup_ctx.append(keep_few)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


async def _keep_few(runner: web.AppRunner) -> None:
    """The oldest make room: whoever asks for something here has long been answered by then, or asks again."""
    while True:
        await asyncio.sleep(BETWEEN_LOOKS)
        connections = runner.server.connections if runner.server else []
        for connection in connections[: max(0, len(connections) - MOST_CONNECTIONS)]:
            connection.force_close()
