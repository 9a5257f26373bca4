"""The engine's process: llama.cpp from the package xllamacpp, behind the guard, in one web app.

llama.cpp's own HTTP server listens on a Unix socket in a folder of this process, where no other process can reach it.
The app forwards what the guard admits, so that every path, every error and every cancellation is llama.cpp's own.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import os
import signal
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import uvloop
from prometheus_client import CollectorRegistry, generate_latest

from slipway_runtime import control
from slipway_runtime.engines.engine import StartRefusedError
from slipway_runtime.engines.heap import Heap
from slipway_runtime.engines.llamacpp import DETAILED, USUAL, Settings, fill
from slipway_runtime.engines.llamacpp.calls import Broken, Call, Request, call
from slipway_runtime.engines.open_metrics import is_wanted_by, page_of
from slipway_runtime.engines.web import WhileThere, body_of, serving
from slipway_runtime.failure import termination_message
from slipway_runtime.guard import errors
from slipway_runtime.guard.asgi import VISIT, EngineGone, Guard
from slipway_runtime.guard.exchange import Receive, Scope, Send
from slipway_runtime.guard.gate import Gate

PASSED_ON = (b"content-type", b"accept")
SET_VERBOSITY = "_Z30common_log_set_verbosity_tholdi"  # as C++ spells common_log_set_verbosity_thold(int)


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    xllamacpp: Any = importlib.import_module("xllamacpp")
    settings = Settings.from_json(sys.argv[1])
    socket = (control.folder() or Path(tempfile.mkdtemp(prefix="slipway-"))) / "llamacpp.sock"
    try:
        parameters = fill(xllamacpp.CommonParams(), settings)
    except StartRefusedError as refusal:
        sys.exit(termination_message(refusal.failure))
    parameters.hostnames = [str(socket)]
    set_verbosity = verbosity_of(xllamacpp)
    if set_verbosity:
        parameters.verbosity = DETAILED
    server = xllamacpp.Server(parameters)  # holds Python's lock until the model is loaded
    if set_verbosity:
        set_verbosity(USUAL)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, socket))
    del server


def verbosity_of(xllamacpp: Any) -> Callable[[int], object] | None:
    """llama.cpp's own function that sets it, which the Python package doesn't offer; None: this version has none."""
    try:
        library = ctypes.CDLL(importlib.import_module(f"{xllamacpp.__name__}.xllamacpp").__file__)
        return cast("Callable[[int], object]", library[SET_VERBOSITY])
    except (ImportError, OSError, AttributeError, TypeError):
        return None


async def serve(settings: Settings, socket: Path) -> None:
    registry = CollectorRegistry()
    gate = Gate.from_environment(registry, in_place_of_engine=True)
    app = Guard(LlamaCppApp(gate, socket, registry, parallel=settings.parallel), gate)
    told_to_stop = asyncio.Event()
    async with serving(app, settings.host, settings.port):
        sys.stderr.write(f"Serving {settings.name} on port {settings.port}.\n")
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_stop.set)
        await told_to_stop.wait()
    gate.close()
    os._exit(0)  # llama.cpp has nothing to save, and its threads would take a while to end


class LlamaCppApp:
    """The ASGI app in front of llama.cpp's own server."""

    def __init__(self, gate: Gate, socket: Path, registry: CollectorRegistry, *, parallel: int) -> None:
        self._gate = gate
        self._socket = str(socket)
        self._registry = registry
        self._places = Places(parallel)
        self._heap = Heap()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await body_of(receive)
        if body is None:
            return
        try:
            await self._ask(scope, body, receive, send)
        finally:
            self._heap.used(scope[VISIT].memory)

    async def _ask(self, scope: Scope, body: deque[bytes], receive: Receive, send: Send) -> None:
        async with WhileThere(receive):
            if scope["method"] == "OPTIONS":  # llama.cpp would accept it, without the headers that a browser needs
                await _send(send, 405, b"text/plain", b"")
            elif scope["path"] == "/metrics":
                await self._metrics(scope, send)
            elif scope[VISIT].work:
                visit = scope[VISIT]
                if visit.prompts * visit.answers > self._places.number:
                    refusal = errors.too_many_answers(visit.prompts, visit.answers, self._places.number)
                    await _send(send, refusal.status, b"application/json", refusal.body())
                    return
                async with self._places.taken(visit.prompts * visit.answers):
                    self._gate.take(visit)
                    await self._answer(scope, body, send)
            else:
                await self._answer(scope, body, send)

    async def _answer(self, scope: Scope, body: deque[bytes], send: Send) -> None:
        headers = tuple(header for header in scope["headers"] if header[0] in PASSED_ON)
        asked = Request(scope["method"], scope["raw_path"], scope["query_string"], headers, body)
        try:
            async with call(self._socket, asked) as answer:
                await answer.begins()
                await (_stream(answer, send) if answer.streams else _whole(answer, send))
        except Broken as error:
            raise EngineGone from error

    async def _metrics(self, scope: Scope, send: Send) -> None:
        """llama.cpp's part is in the classic format even where OpenMetrics is wanted; process 1 joins both."""
        async with call(self._socket, Request("GET", b"/metrics")) as answer:
            await answer.begins()
            text = await answer.body()
        guards = page_of(self._registry) if is_wanted_by(scope["headers"]) else generate_latest(self._registry)
        await _send(send, 200, b"text/plain", b"".join((text, guards)))


class Places:
    """A place for each response that llama.cpp can compute at the same time. Requests take one for each of their
    responses, in the order in which they arrived.

    While a request waits here, its client isn't polled; in llama.cpp's own queue it would be, all the time.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._free = asyncio.Semaphore(number)
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def taken(self, number: int) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            async with self._turn:  # otherwise two requests that each have half of their places would wait forever
                for _ in range(number):
                    await stack.enter_async_context(self._free)
            yield


async def _stream(answer: Call, send: Send) -> None:
    headers = [(b"content-type", answer.content_type), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    while piece := await answer.piece():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _whole(answer: Call, send: Send) -> None:
    """Sends the response in one piece, so that a failure halfway becomes an error instead of half a response."""
    await _send(send, answer.status, answer.content_type, await answer.body())


async def _send(send: Send, status: int, content_type: bytes, body: bytes | memoryview) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    main()
