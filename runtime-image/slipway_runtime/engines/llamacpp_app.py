"""The engine's process: llama.cpp from the package xllamacpp, behind the guard, in one web app.

llama.cpp's own HTTP server listens on a Unix socket in a folder of this process, where nobody else can reach it.
Streams of completions, for which each millisecond to the first token counts, are called in process and never touch it;
all else is passed on to it, so that every path, every error and every cancellation is llama.cpp's own.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry, generate_latest

from slipway_runtime import control
from slipway_runtime.engines.engine import Refusal
from slipway_runtime.engines.llamacpp import Settings, fill
from slipway_runtime.engines.llamacpp_calls import Calls, Handle, error_status, events, wants_stream
from slipway_runtime.failure import termination_message
from slipway_runtime.guard.aiohttp_app import VISIT, EngineGone, Stream, guarded
from slipway_runtime.guard.gate import Gate

EVENT_STREAM = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
DONE = b"data: [DONE]\n\n"
PASSED_ON = (hdrs.CONTENT_TYPE, hdrs.ACCEPT)


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    xllamacpp: Any = importlib.import_module("xllamacpp")
    settings = Settings.from_json(sys.argv[1])
    socket = _private_folder() / "llamacpp.sock"
    try:
        parameters = fill(xllamacpp.CommonParams(), settings)
    except Refusal as refusal:
        sys.exit(termination_message(refusal.failure))
    parameters.hostnames = [str(socket)]
    server = xllamacpp.Server(parameters)  # holds the interpreter's lock until the model is loaded
    asyncio.run(serve(server, settings, socket))


async def serve(server: Any, settings: Settings, socket: Path) -> None:
    registry = CollectorRegistry()
    gate = Gate.from_environment(registry)
    engine = Engine(server, socket, gate, registry, parallel=settings.parallel)
    runner = web.AppRunner(engine.app(), access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, settings.host, settings.port, backlog=1024).start()
    sys.stderr.write(f"Serving {settings.name} on port {settings.port}.\n")
    told_to_stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_stop.set)
    await told_to_stop.wait()
    await runner.cleanup()
    os._exit(0)  # llama.cpp has nothing to save, and its threads would take a while to end


class Engine:
    def __init__(self, server: Any, socket: Path, gate: Gate, registry: CollectorRegistry, *, parallel: int) -> None:
        self._gate = gate
        self._registry = registry
        self._calls = Calls(parallel)
        self._in_process: Mapping[str, Handle] = {
            "/v1/chat/completions": server.handle_chat_completions,
            "/v1/completions": server.handle_completions,
        }
        self._http = aiohttp.ClientSession(
            "http://localhost",
            connector=aiohttp.UnixConnector(str(socket), limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )

    def app(self) -> web.Application:
        app = web.Application(middlewares=[guarded(self._gate)], client_max_size=self._gate.settings.max_body_bytes)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_route("*", "/{path:.*}", self._answer)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _: web.Application) -> None:
        await self._http.close()
        self._gate.close()

    async def _metrics(self, _: web.Request) -> web.Response:
        async with self._http.get("/metrics") as theirs:
            text = await theirs.read()
        return web.Response(body=text + generate_latest(self._registry), headers={hdrs.CONTENT_TYPE: "text/plain"})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        handle = self._in_process.get(request.path) if wants_stream(body) else None
        if handle and (answer := await self._stream(request, handle, body)) is not None:
            return answer
        if not request[VISIT].work:
            return await self._pass_on(request, body)
        async with self._calls.slots:
            self._gate.take(request[VISIT])
            return await self._pass_on(request, body)

    async def _stream(self, request: web.Request, handle: Handle, body: bytes) -> web.StreamResponse | None:
        """The answer; None if llama.cpp raised an error, which by way of its own server it puts in its own words."""
        call = await self._calls.start(handle, body)
        self._gate.take(request[VISIT])
        try:
            pieces = await call.pieces()
            if not pieces:
                return None
            if status := error_status(pieces[0]):
                return web.Response(body=pieces[0], status=status, content_type="application/json")
            stream = Stream(self._gate, request, headers=EVENT_STREAM)
            while pieces:
                if not await stream.piece(events(pieces)):
                    return stream
                pieces = await call.pieces()
            if call.failed:
                raise EngineGone
            await stream.piece(DONE)
            return stream
        finally:
            call.end()

    async def _pass_on(self, request: web.Request, body: bytes) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        try:
            async with self._http.request(request.method, request.path_qs, data=body, headers=headers) as theirs:
                kind = theirs.headers.get(hdrs.CONTENT_TYPE, "application/json")
                if not kind.startswith("text/event-stream"):
                    answer = await theirs.read()
                    return web.Response(body=answer, status=theirs.status, headers={hdrs.CONTENT_TYPE: kind})
                stream = Stream(self._gate, request, headers=EVENT_STREAM, status=theirs.status)
                async for piece in theirs.content.iter_any():
                    if not await stream.piece(piece):
                        break
                return stream
        except (aiohttp.ClientError, OSError) as error:
            raise EngineGone from error


def _private_folder() -> Path:
    """Where the supervisor put what is shared with it alone, else a folder of our own."""
    shared = os.environ.get(control.ENVIRONMENT)
    return Path(shared).parent if shared else Path(tempfile.mkdtemp(prefix="slipway-"))


if __name__ == "__main__":
    main()
