"""The pod's management port: probes for the kubelet, facts for people and the operator, and all metrics in one scrape.

`/readyz?wait=10` answers as soon as the engine is ready, or after 10 s: a proxy that holds requests learns of it
immediately.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from aiohttp import web

from slipway_runtime.engines import open_metrics
from slipway_runtime.supervisor.state import PodState

LONGEST_WAIT = 60.0
MOST_CONNECTIONS = 128
KEEP_ALIVE = 75.0  # seconds
CHECK_EVERY = 1.0  # seconds
HOW_TO_WAIT = f"wait must be a number of seconds from 0 to {LONGEST_WAIT:g}, as in /readyz?wait=10"


class Supervised(Protocol):
    """What the port reports on."""

    @property
    def state(self) -> PodState: ...
    @property
    def has_started(self) -> bool: ...
    @property
    def is_ready(self) -> bool: ...
    @property
    def trouble(self) -> str | None: ...
    @property
    def phase(self) -> str: ...
    async def until_ready(self, within: float) -> None: ...
    async def info(self) -> Mapping[str, object]: ...
    async def metrics(self, *, open_metrics: bool) -> str: ...


class Handlers:
    """One method for each path; their docstrings are the paths' descriptions in the reference."""

    def __init__(self, supervised: Supervised) -> None:
        self._supervised = supervised

    async def startupz(self, _: web.Request) -> web.Response:
        """200 once the engine has answered for the first time"""
        return self._probe(self._supervised.has_started)

    async def readyz(self, request: web.Request) -> web.Response:
        """200 while requests are answered and no stop signal was received; `?wait=10` waits up to 10 s for that"""
        seconds = _seconds(request.query.get("wait", "0"))
        if seconds is None:
            return web.Response(text=f"{HOW_TO_WAIT}, and not {request.query['wait']!r}\n", status=400)
        await self._supervised.until_ready(within=seconds)
        return self._probe(self._supervised.is_ready)

    async def livez(self, _: web.Request) -> web.Response:
        """503 when the engine makes no progress; the pod then ends on its own and reports the reason"""
        return self._probe(self._supervised.trouble is None)

    async def info(self, _: web.Request) -> web.Response:
        """versions, facts of the model, flags with reasons, capacity, boundaries of histograms, use, phases, as JSON"""
        return web.json_response(await self._supervised.info())

    async def metrics(self, request: web.Request) -> web.Response:
        """the metrics of the runtime, the guard and the engine, in one scrape; as OpenMetrics if that is preferred"""
        wanted = open_metrics.is_wanted(",".join(request.headers.getall("Accept", ())))
        page = await self._supervised.metrics(open_metrics=wanted)
        kind = open_metrics.CONTENT_TYPE if wanted else "text/plain; charset=utf-8"
        return web.Response(body=page.encode(), headers={"Content-Type": kind})

    def _probe(self, passes: bool) -> web.Response:
        trouble = f": {self._supervised.trouble}" if self._supervised.trouble else ""
        text = f"{self._supervised.state}, phase {self._supervised.phase}{trouble}\n"
        return web.Response(text=text, status=200 if passes else 503)


PATHS = {
    f"/{handler.__name__}": handler
    for handler in (Handlers.startupz, Handlers.readyz, Handlers.livez, Handlers.info, Handlers.metrics)
}


def application(supervised: Supervised) -> web.Application:
    handlers = Handlers(supervised)
    app = web.Application()
    for path, handler in PATHS.items():
        app.router.add_get(path, getattr(handlers, handler.__name__))
    return app


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(seconds, LONGEST_WAIT) if math.isfinite(seconds) and seconds >= 0 else None


async def listen(supervised: Supervised, *, host: str, port: int) -> web.AppRunner:
    app = application(supervised)
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, shutdown_timeout=0.1, keepalive_timeout=KEEP_ALIVE
    )

    async def limit_connections(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(_limit_connections(runner))
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    app.cleanup_ctx.append(limit_connections)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


async def _limit_connections(runner: web.AppRunner) -> None:
    """Closes the oldest connections beyond the limit: their requests were answered long ago, or will be retried."""
    while True:
        await asyncio.sleep(CHECK_EVERY)
        connections = runner.server.connections if runner.server else []
        for connection in connections[: max(0, len(connections) - MOST_CONNECTIONS)]:
            connection.force_close()
