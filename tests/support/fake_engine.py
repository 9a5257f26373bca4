"""An engine that does what a test says, by flags: it prints, loads, answers /health and /metrics, streams, hangs, dies.

It has a guard of sorts: it counts its requests in the control file, refuses them while draining and cuts them when told.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web
from slipway_runtime import control


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--port", type=int, required=True)
    add("--say", action="append", default=[], help="a line to print at the start")
    add("--flood", type=int, default=0, help="lines to print at the start, as fast as possible")
    add("--load", type=float, default=0.0, help="seconds until it answers")
    add("--ignore-sigterm", action="store_true")
    add("--die", type=int, help="the exit code to end with instead of serving")
    add("--orphan", type=Path, help="start a process in a session of its own, and write its pid there")
    add("--zombies", type=int, default=0, help="children that end at once, whose parent is gone before them")
    add("--shared-memory", type=Path, help="a file to leave behind")
    arguments = parser.parse_args(argv)
    if arguments.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in arguments.say:
        print(line, flush=True)
    for number in range(arguments.flood):
        print(f"line {number} {'x' * 200}")
    if arguments.orphan:
        arguments.orphan.write_text(str(_run_away()))
    for _ in range(arguments.zombies):
        _leave_a_zombie()
    if arguments.shared_memory:
        arguments.shared_memory.write_text("left behind")
    time.sleep(arguments.load)
    if arguments.die is not None:
        sys.exit(arguments.die)
    web.run_app(Engine().app, host="127.0.0.1", port=arguments.port, handle_signals=not arguments.ignore_sigterm, print=None)


def _run_away() -> int:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
        os._exit(0)
    return pid


def _leave_a_zombie() -> None:
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0:
            time.sleep(0.05)
        os._exit(0)
    os.waitpid(pid, 0)


class Engine:
    def __init__(self) -> None:
        self.slot = control.Slot.claim(Path(os.environ[control.ENVIRONMENT]))
        self.running = 0
        self.hangs = False
        self.app = web.Application()
        self.app.add_routes(
            [
                web.get("/health", self.health),
                web.get("/metrics", self.metrics),
                web.post("/v1/completions", self.completions),
                web.post("/stream", self.stream),
                web.post("/hang", self.hang),
                web.post("/die", self.die),
            ]
        )

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def metrics(self, _: web.Request) -> web.Response:
        text = f'# HELP fake:running Requests.\n# TYPE fake:running gauge\nfake:running{{model="a}} 9"}} {self.running}\n'
        return web.Response(text=text)

    async def completions(self, _: web.Request) -> web.Response:
        return web.json_response({"choices": [{"text": "hello"}]})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """`tokens` of them, one each `every` seconds."""
        if self.slot.state != control.State.SERVING:
            raise web.HTTPServiceUnavailable(headers={"Retry-After": str(self.slot.retry_after)})
        self.slot.begin()
        self.running += 1
        try:
            return await self._answer(request)
        finally:
            self.slot.end(waiting=True)
            self.running -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for number in range(int(request.query.get("tokens", "1"))):
            if self.slot.state == control.State.ENDING:
                await answer.write(b"error\n")
                break
            while self.hangs:
                await asyncio.sleep(0.1)
            await answer.write(f"{number}\n".encode())
            self.slot.tokens(1)
            await asyncio.sleep(float(request.query.get("every", "0.01")))
        await answer.write_eof()
        return answer

    async def hang(self, _: web.Request) -> web.Response:
        """From now on no request gets a token."""
        self.hangs = True
        return web.Response()

    async def die(self, request: web.Request) -> web.Response:
        os._exit(int(request.query.get("code", "0")))


if __name__ == "__main__":
    main()
