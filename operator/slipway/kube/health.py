"""Tells Kubernetes and Prometheus how the process is: /livez, /readyz and /metrics.

A check returns what is wrong, in a sentence, or None. Live is false only where a restart would help; ready is false
until the caches are filled.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from slipway.kube.audit import Auditor
from slipway.kube.metrics import WatchMetrics
from slipway.kube.store import Store
from slipway.process.entrance import Entrance

Handler = Callable[[web.Request], Awaitable[web.Response]]
Check = Callable[[], str | None]
Checks = Mapping[str, Check]

HOLDS_FOR = 1.0  # seconds, what Prometheus is told: anybody may ask, as often as they like


def watches_are_fresh(auditor: Auditor, *, limit: float, clock: Callable[[], float]) -> Check:
    """Watches that are stale are begun anew at once; only where that hasn't helped for `limit` seconds, it is told."""

    def check() -> str | None:
        late = [f"{kind} for {age:.0f} s" for kind, age in auditor.stale(clock()).items() if age > limit]
        return f"watches have missed changes: {', '.join(late)}" if late else None

    return check


def caches_are_filled(store: Store) -> Check:
    def check() -> str | None:
        unsynced = ", ".join(map(str, store.unsynced()))
        return f"not yet listed: {unsynced}" if unsynced else None

    return check


@asynccontextmanager
async def serve(
    metrics: WatchMetrics,
    *,
    live: Checks,
    ready: Checks,
    port: int,
    host: str = "0.0.0.0",  # noqa: S104 - probes come from outside of the pod
) -> AsyncIterator[int]:
    """Yields the port: with port 0, any free one. A connection is for one question: nobody keeps it for the next."""
    app, telling = web.Application(), Telling(metrics)
    app.router.add_get("/livez", _answer(live))
    app.router.add_get("/readyz", _answer(ready))
    app.router.add_get("/metrics", telling.answer)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    entrance = Entrance()
    try:
        await web.UnixSite(runner, f"\0{entrance.behind}").start()
        yield await entrance.open(host, port)
    finally:
        entrance.shut()
        await runner.cleanup()
        await entrance.close()
        await telling.close()


def _answer(checks: Checks) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        results = {name: check() for name, check in checks.items()}
        text = "".join(f"{name}: {wrong or 'ok'}\n" for name, wrong in results.items())
        return _last(web.Response(text=text or "ok\n", status=503 if any(results.values()) else 200))

    return answer


class Telling:
    """What the metrics are, in one text for all who ask within a moment; others are served while it is written."""

    def __init__(self, metrics: WatchMetrics) -> None:
        self._metrics = metrics
        self._writing: asyncio.Task[bytes] | None = None
        self._begun = -math.inf

    async def answer(self, _: web.Request) -> web.Response:
        text = await asyncio.shield(self._text())
        return _last(web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST}))

    async def close(self) -> None:
        if self._writing:
            self._writing.cancel()
            await asyncio.wait([self._writing])

    def _text(self) -> asyncio.Task[bytes]:
        now = asyncio.get_running_loop().time()
        if self._writing is None or (self._writing.done() and now - self._begun >= HOLDS_FOR):
            self._begun, self._writing = now, asyncio.create_task(self._write())
        return self._writing

    async def _write(self) -> bytes:
        pieces = []
        for piece in self._metrics.text_in_steps():
            pieces.append(piece)
            await asyncio.sleep(0)
        return b"".join(pieces)


def _last(response: web.Response) -> web.Response:
    """Of its connection."""
    response.force_close()
    return response
