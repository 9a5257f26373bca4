"""The web app in front of llama.cpp, as a process: `python -m support.programs.guard_process PORT SOCKET`.

A small server listens on the socket in place of llama.cpp. It responds at random, and counts the requests.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from aiohttp import web
from slipway_runtime.control import ENVIRONMENT, Control
from slipway_runtime.engines.llamacpp import Settings
from slipway_runtime.engines.llamacpp.app import serve

from support.ports import free_port

PATIENCE = 60.0


def main() -> None:
    port, socket = int(sys.argv[1]), Path(sys.argv[2])
    asyncio.run(_serve(port, socket))


async def _serve(port: int, socket: Path) -> None:
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # it is the fake's, and logs aborted connections
    runner = web.AppRunner(FakeLlamacpp().app, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    settings = Settings(
        model=Path("none"),
        name="gemma",
        host="127.0.0.1",
        port=port,
        context_length=1,
        parallel=4,
        threads=1,
        parameters={},
    )
    await serve(settings, socket)


class FakeLlamacpp:
    """It responds in one piece, in a stream, with an error, or not at all."""

    def __init__(self) -> None:
        self.asked = 0
        self.app = web.Application(client_max_size=1 << 30)
        self.app.router.add_get("/health", self._health)
        self.app.router.add_route("*", "/{path:.*}", self._answer)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response(self.asked)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += request.method != "OPTIONS"  # browsers send OPTIONS before they send a key
        await request.read()
        match random.choice(("whole", "stream", "stream", "error", "cut", "half a stream")):
            case "whole":
                return web.json_response({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
            case "error":
                return web.json_response({"error": {"code": 400}}, status=400)
            case "cut":
                _cut(request)
                return web.Response()
            case how:
                stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
                await stream.prepare(request)
                for _ in range(3):
                    await stream.write(b'data: {"choices":[{"text":"a"}]}\n\n')
                if how == "half a stream":
                    _cut(request)
                return stream


def _cut(request: web.Request) -> None:
    if request.transport:
        request.transport.close()


@dataclass
class GuardedProcess:
    port: int
    control: Control
    log: Path
    process: subprocess.Popen[bytes]

    def asked(self) -> int:
        """Returns how many requests that need a key have reached the engine."""
        with urlopen(f"http://127.0.0.1:{self.port}/health", timeout=PATIENCE) as answer:
            return int(answer.read())


@contextmanager
def guarded_process(folder: Path, guard: str) -> Iterator[GuardedProcess]:
    """`guard` is the guard's configuration, as JSON."""
    port, log, control = free_port(), folder / "log", Control.create(folder / "control")
    environment = {**os.environ, ENVIRONMENT: str(folder / "control"), "SLIPWAY_GUARD": guard}
    with log.open("wb") as file:
        process = subprocess.Popen(
            (sys.executable, "-m", "support.programs.guard_process", str(port), str(folder / "socket")),
            cwd=Path(__file__).parents[2],
            env=environment,
            stdout=file,
            stderr=file,
        )
    try:
        made = GuardedProcess(port, control, log, process)
        _until_it_answers(made)
        yield made
    finally:
        process.kill()
        process.wait()
        control.close()


def _until_it_answers(made: GuardedProcess) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and made.process.poll() is None:
        try:
            made.asked()
            return
        except URLError:
            time.sleep(0.05)
    raise AssertionError(f"it doesn't respond: {made.log.read_text()}")


if __name__ == "__main__":
    main()
