"""The management port of a program: /livez and /readyz for Kubernetes, /metrics for Prometheus, and its own pages.

A check returns what is wrong, in a sentence, or None. Live is false only where a restart would help; ready is false
until the caches are filled.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from slipway.process.guarded_port import GuardedPort
from slipway.process.metrics import MetricsRegistry

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Check = Callable[[], str | None]
Checks = Mapping[str, Check]

PAGE_HOLDS_FOR = 1.0  # seconds: anyone may read /metrics, as often as they like


@dataclass(frozen=True, kw_only=True)
class ManagementPort:
    """What a program answers there; `port` 0 is any free one."""

    metrics: MetricsRegistry
    live: Checks
    ready: Checks
    port: int
    pages: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)  # further ones: small, as JSON, by path
    host: str = "0.0.0.0"  # noqa: S104 - probes arrive from outside of the pod

    @asynccontextmanager
    async def served(self) -> AsyncIterator[int]:
        """Yields the number of the port. Each connection serves one request, so that no client holds one for long."""
        app, page = web.Application(), MetricsPage(self.metrics)
        app.router.add_get("/livez", _answer(self.live))
        app.router.add_get("/readyz", _answer(self.ready))
        app.router.add_get("/metrics", page.answer, allow_head=False)
        for path, content in self.pages.items():
            app.router.add_get(path, _page(content), allow_head=False)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        entrance = GuardedPort()
        try:
            await web.UnixSite(runner, f"\0{entrance.behind}").start()
            yield await entrance.open(self.host, self.port)
        finally:
            entrance.shut()
            await runner.cleanup()
            await entrance.close()
            await page.close()


def _answer(checks: Checks) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        results = {name: check() for name, check in checks.items()}
        text = "".join(f"{name}: {wrong or 'ok'}\n" for name, wrong in results.items())
        return _closing(web.Response(text=text or "ok\n", status=503 if any(results.values()) else 200))

    return answer


def _page(content: Callable[[], bytes]) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return _closing(web.Response(body=content(), content_type="application/json"))

    return answer


class MetricsPage:
    """One page for all who read /metrics within a moment; other requests are served while it is written and sent.

    With ten thousand LLMDeployments it has 25 MB, which to join, or to send at once, would take too long.
    """

    def __init__(self, metrics: MetricsRegistry) -> None:
        self._metrics = metrics
        self._writing: asyncio.Task[list[bytes]] | None = None
        self._started_at = -math.inf

    async def answer(self, request: web.Request) -> web.StreamResponse:
        pieces = await self.pieces()
        response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE_LATEST})
        response.content_length = sum(map(len, pieces))
        response.force_close()
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        await response.write_eof()
        return response

    async def pieces(self) -> list[bytes]:
        return await asyncio.shield(self._page())

    async def close(self) -> None:
        if self._writing:
            self._writing.cancel()
            await asyncio.wait([self._writing])

    def _page(self) -> asyncio.Task[list[bytes]]:
        now = asyncio.get_running_loop().time()
        if self._writing is None or (self._writing.done() and now - self._started_at >= PAGE_HOLDS_FOR):
            self._started_at, self._writing = now, asyncio.create_task(self._write())
        return self._writing

    async def _write(self) -> list[bytes]:
        pieces = []
        for piece in self._metrics.page_in_steps():
            if piece:
                pieces.append(piece)
            await asyncio.sleep(0)
        return pieces


def _closing(response: web.Response) -> web.Response:
    """The last response of its connection."""
    response.force_close()
    return response
