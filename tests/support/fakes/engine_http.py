"""The HTTP server of the engine in engine.py: it responds, streams, hangs and exits.

It has a minimal guard: it counts requests in the control file, rejects them in a drain and cuts them off on command.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from aiohttp import web
from slipway_runtime import control

from support.fakes.engine import compile_files


def serve(*, port: int, handle_signals: bool, has_limits: bool = True) -> None:
    web.run_app(
        Engine(has_limits=has_limits).app, host="127.0.0.1", port=port, handle_signals=handle_signals, print=None
    )


class Engine:
    def __init__(self, *, has_limits: bool = True) -> None:
        self.slot = control.Slot.claim(Path(os.environ[control.ENVIRONMENT]))
        self.running = 0
        self.asked = 0
        self.hangs = False
        self.app = web.Application(handler_args=None if has_limits else {"max_field_size": 1 << 30})
        self.app.add_routes(
            [
                web.get("/health", self.health),
                web.get("/metrics", self.metrics),
                web.post("/v1/completions", self.completions),
                web.post("/stream", self.stream),
                web.post("/hang", self.hang),
                web.post("/die", self.die),
                web.post("/compile", self.compile),
            ]
        )

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def metrics(self, _: web.Request) -> web.Response:
        self.asked += 1
        text = (
            f'# HELP fake:running Requests.\n# TYPE fake:running gauge\nfake:running{{model="a}} 9"}} {self.running}\n'
            f"# HELP fake:asked For these.\n# TYPE fake:asked counter\nfake:asked_total {self.asked}\n"
        )
        return web.Response(text=text)

    async def completions(self, _: web.Request) -> web.Response:
        return web.json_response({"choices": [{"text": "hello"}]})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Streams `tokens` tokens, one every `every` seconds."""
        if self.slot.mode != control.GuardMode.SERVING:
            raise web.HTTPServiceUnavailable(headers={"Retry-After": str(self.slot.retry_after)})
        self.slot.begin()
        self.running += 1
        try:
            return await self._answer(request)
        finally:
            self.slot.end(waiting=True, done=True)
            self.running -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for number in range(int(request.query.get("tokens", "1"))):
            if self.slot.mode == control.GuardMode.ENDING:
                await answer.write(b"error\n")
                break
            if self.hangs:
                await asyncio.Event().wait()
            await answer.write(f"{number}\n".encode())
            self.slot.tokens(1)
            await asyncio.sleep(float(request.query.get("every", "0.01")))
        await answer.write_eof()
        return answer

    async def hang(self, _: web.Request) -> web.Response:
        """From now on, no request gets a token."""
        self.hangs = True
        return web.Response()

    async def die(self, request: web.Request) -> web.Response:
        os._exit(int(request.query.get("code", "0")))

    async def compile(self, request: web.Request) -> web.Response:
        """Compiles more, as an engine does for a request of a new kind."""
        compile_files(int(request.query["files"]))
        return web.Response()
