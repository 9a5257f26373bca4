"""An ASGI app served over HTTP: uvicorn without its command line, signals and log, and with limits to connections."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType

import uvicorn

from slipway_runtime.engines.connection import Connection
from slipway_runtime.guard.exchange import App, Receive

KEEP_ALIVE = 75  # seconds; clients that reuse connections close them sooner


@asynccontextmanager
async def serving(app: App, host: str, port: int) -> AsyncIterator[None]:
    """Serves while the block runs; at its end, responses have one second to finish."""
    logging.getLogger("uvicorn.error").setLevel(
        logging.ERROR
    )  # no line for bytes that aren't HTTP, which anyone can send
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=1024,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=1,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield
    finally:
        await server.shutdown()


async def body_of(receive: Receive) -> deque[bytes] | None:
    """A request's body, in the pieces in which it arrives; None if its client has left."""
    pieces: deque[bytes] = deque()
    while (message := await receive())["type"] == "http.request":
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return pieces
    return None


class WhileThere:
    """A block that is cancelled when the client leaves: `async with WhileThere(receive):`."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = self._over = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("WhileThere is used outside of a task, so there is nothing to cancel")
        self._task = task
        self._watch = asyncio.ensure_future(self._until_left())

    async def _until_left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._over:
            self._left = True
            self._task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> bool:
        self._over = True
        self._watch.cancel()
        return self._left and kind is asyncio.CancelledError and self._task.uncancel() == 0
