"""What the guard costs: llama.cpp behind it and llama.cpp alone, asked in turns in one run; and the guard by itself.

    .venv/bin/python benchmarks/guard_cost.py [--rounds N]

First the guard around an app that does nothing: processor time for a request, and for each piece of a stream. Then the
demo model, served once by llama.cpp's own server and once by the runtime's app: the time to the first token of one
request at a time, and the tokens per second of several at once.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry
from slipway_devcluster import model
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from slipway_runtime.control import Control, Slot
from slipway_runtime.engines.llamacpp import Settings
from slipway_runtime.guard.asgi import App, Guard, Message, Receive, Scope, Send
from slipway_runtime.guard.gate import Gate
from slipway_runtime.guard.settings import Settings as GuardSettings

AT_ONCE = 4
TOKENS = 64
PATIENCE = 300.0
PIECE = b'data: {"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'

ALONE = """
import sys, threading
import xllamacpp
from slipway_runtime.engines.llamacpp import Settings, fill
server = xllamacpp.Server(fill(xllamacpp.CommonParams(), Settings.from_json(sys.argv[1])))
threading.Event().wait()
"""
COMMANDS = {"alone": ["-c", ALONE], "guarded": ["-m", "slipway_runtime.engines.llamacpp_app"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=10, help="of each, in turns (default: %(default)s)")
    arguments = parser.parse_args()
    asyncio.run(measure_guard())
    asyncio.run(measure_engine(arguments.rounds))


# --- the guard by itself ---------------------------------------------------------------------------------------------


async def measure_guard(requests: int = 300, pieces: int = 200) -> None:
    with a_gate() as gate:
        bare, guarded = streaming(pieces), Guard(streaming(pieces), gate)
        empty, empty_guarded = streaming(0), Guard(streaming(0), gate)
        whole = [await seconds_of(app, requests) for app in (bare, guarded)]
        start = [await seconds_of(app, requests) for app in (empty, empty_guarded)]
    request = (start[1] - start[0]) / requests
    piece = (whole[1] - whole[0] - (start[1] - start[0])) / requests / pieces
    print(
        f"the guard by itself: {request * 1e6:.0f} µs for a request, {piece * 1e6:.1f} µs for each piece of its stream"
    )
    print(f"  at 7,000 pieces a second: {piece * 7000:.1%} of one processor")


async def seconds_of(app: Callable[[Scope, Receive, Send], Awaitable[None]], requests: int) -> float:
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": [(b"host", b"x")] * 8}

    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(_: Message) -> None:
        return

    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(requests):
            await app(dict(scope), receive, send)
        best = min(best, time.process_time() - began)
    return best


def streaming(pieces: int) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(pieces):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


@contextmanager
def a_gate() -> Iterator[Gate]:
    with tempfile.TemporaryDirectory() as folder:
        control = Control.create(Path(folder) / "control")
        gate = Gate(GuardSettings(access_log=False), Slot.claim(Path(folder) / "control"), CollectorRegistry())
        yield gate
        gate.close()
        control.close()


# --- with an engine --------------------------------------------------------------------------------------------------


async def measure_engine(rounds: int) -> None:
    cache = default_cache()
    file = model.ensure_gguf(cache, Steps(cache)) / model.GGUF_FILE
    first: dict[str, list[float]] = {name: [] for name in COMMANDS}
    rates: dict[str, list[float]] = {name: [] for name in COMMANDS}
    async with engine("alone", file, 18491) as alone, engine("guarded", file, 18492) as guarded:
        urls = {"alone": alone, "guarded": guarded}
        # llama.cpp's own server closes connections at will, so none is used twice.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            for url in urls.values():
                await ask(http, url, tokens=TOKENS)
            for number in range(rounds):
                for name in sorted(urls, reverse=bool(number % 2)):
                    first[name] += [(await ask(http, urls[name], tokens=2))[0] for _ in range(10)]
                    rates[name].append(await tokens_per_second(http, urls[name]))
    report(first, rates)


async def tokens_per_second(http: aiohttp.ClientSession, url: str) -> float:
    began = time.monotonic()
    answers = await asyncio.gather(*(ask(http, url, tokens=TOKENS) for _ in range(AT_ONCE)))
    return sum(tokens for _, tokens in answers) / (time.monotonic() - began)


async def ask(http: aiohttp.ClientSession, url: str, *, tokens: int) -> tuple[float, int]:
    """Seconds to the first token, and how many came."""
    body = {"model": "gemma", "prompt": "Once", "max_tokens": tokens, "stream": True, "ignore_eos": True}
    began, first, count = time.monotonic(), 0.0, 0
    async with http.post(f"{url}/v1/completions", json={**body, "cache_prompt": True}) as answer:
        async for line in answer.content:
            if line.startswith(b"data: {"):
                first = first or time.monotonic() - began
                count += 1
    return first, count


@asynccontextmanager
async def engine(name: str, file: Path, port: int) -> AsyncIterator[str]:
    settings = Settings(
        model=file,
        name="gemma",
        host="127.0.0.1",
        port=port,
        context_length=1024,
        parallel=AT_ONCE,
        threads=2,
        parameters={},
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *COMMANDS[name], json.dumps(dataclasses.asdict(settings), default=str)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await until_it_answers(url)
        yield url
    finally:
        process.kill()
        await process.wait()


async def until_it_answers(url: str) -> None:
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(f"{url}/health") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)


def report(first: dict[str, Any], rates: dict[str, Any]) -> None:
    for name in COMMANDS:
        told = f"first token after {statistics.median(first[name]) * 1e3:.2f} ms (median of {len(first[name])})"
        rate = f"{statistics.median(rates[name]):.1f} tokens/s, {AT_ONCE} at once (median of {len(rates[name])})"
        print(f"{name:8} {told}, {rate}")
    later = statistics.median(first["guarded"]) - statistics.median(first["alone"])
    ratio = statistics.median(rates["guarded"]) / statistics.median(rates["alone"])
    print(f"guarded against alone: first token {later * 1e3:+.2f} ms, throughput {ratio:.3f}")


if __name__ == "__main__":
    main()
