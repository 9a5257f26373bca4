"""The supervisor's HTTP requests to the engine: health, limits, metrics and the warm-up."""

from __future__ import annotations

import asyncio
import math

import aiohttp

from slipway_runtime.engines.engine import Launch, WarmUp
from slipway_runtime.engines.open_metrics import MEDIA_TYPE

SECRET_HEADER = "X-Slipway-Supervisor"  # noqa: S105 - the name of a header
PATIENCE = 3.0  # seconds for a response that costs an engine nothing
PATIENCE_WITH_HEADS = 20.0  # seconds for a response that a server without limits would never send
TOO_LONG_A_HEAD = b"GET /health HTTP/1.1\r\nx: " + b"x" * (256 << 10)
"""It never ends."""


class EngineClient:
    def __init__(self, launch: Launch, *, secret: str) -> None:
        self._launch = launch
        self._session = aiohttp.ClientSession(
            launch.url,
            headers={SECRET_HEADER: secret},
            timeout=aiohttp.ClientTimeout(total=PATIENCE),
            connector=aiohttp.TCPConnector(force_close=True),  # a connection kept open would outlive a drain
            trust_env=False,
        )
        self._scrapes: dict[str, asyncio.Task[str | None]] = {}
        """The one that goes on, or the last one, of each format."""
        self._scraped: tuple[float, str | None] = (-math.inf, None)
        """The last scrape that had a response, and when that was complete."""

    async def health(self) -> int:
        """Returns the status of the health check; 0 if there was no response."""
        try:
            async with self._session.get(self._launch.health) as answer:
                return answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0

    async def has_limits(self) -> bool:
        """Returns whether the server refuses a head that is too long, instead of waiting for the rest of it."""
        try:
            async with asyncio.timeout(PATIENCE_WITH_HEADS):
                host = self._launch.host.strip("[]")
                reader, writer = await asyncio.open_connection(host, self._launch.port)
                try:
                    writer.write(TOO_LONG_A_HEAD)
                    return (await reader.readline()).split(b" ")[1:2] in ([b"431"], [b"400"])
                finally:
                    writer.transport.abort()
        except ConnectionResetError:
            return True
        except (OSError, TimeoutError):
            return False

    async def recent_metrics(self, within: float) -> str | None:
        """Returns a scrape of the last seconds; if the engine doesn't respond, an older one, so that no counter goes
        back."""
        if asyncio.get_running_loop().time() - self._scraped[0] >= within:
            await self.metrics()
        return self._scraped[1]

    async def metrics(self, *, open_metrics: bool = False) -> str | None:
        """Scrapes the engine once for all concurrent callers: while it renders its metrics, its server sends no client
        a token. Parts of the page may be in the classic format even with `open_metrics`."""
        accept = MEDIA_TYPE if open_metrics else "text/plain"
        if (scrape := self._scrapes.get(accept)) is None or scrape.done():
            scrape = self._scrapes[accept] = asyncio.create_task(self._metrics(accept))
        return await asyncio.shield(scrape)

    async def _metrics(self, accept: str) -> str | None:
        try:
            async with self._session.get(self._launch.metrics, headers={"Accept": accept}) as answer:
                if answer.status != 200:
                    return None
                page = await answer.text(errors="replace")
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        self._scraped = asyncio.get_running_loop().time(), page
        return page

    async def warm_up(self, request: WarmUp, *, timeout: float, trace: str | None = None) -> int:
        headers = {"Traceparent": trace} if trace else {}
        body = dict(request.body)
        try:
            within = aiohttp.ClientTimeout(total=timeout)
            async with self._session.post(request.path, json=body, headers=headers, timeout=within) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0

    async def close(self) -> None:
        for scrape in self._scrapes.values():
            scrape.cancel()
        await self._session.close()
