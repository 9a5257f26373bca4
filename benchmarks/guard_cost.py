"""What the guard costs: an engine behind it, without it and alone, asked in turns in one run; and the guard by itself.

    .venv/bin/python benchmarks/guard_cost.py [--rounds N]
    .venv/bin/python benchmarks/guard_cost.py --vllm "$(.venv/bin/python -P tests/support/vllm_venv.py)"

First the guard around an app that does nothing: processor time for a request, and for each piece of a stream. Then the
demo model, served by llama.cpp's own server (alone), by the runtime's web app with its guard taken out (unguarded), and
by the same with it (guarded); or by vLLM's own server on CPUs, alone and guarded. Told are the time to the first token
of one request at a time, and the tokens per second of several at once. Each is a median, with the interval that holds
it at 95 % by the bootstrap. While one is asked, the others stand still: vLLM's worker looks for work for a second after
it had some, and takes a processor for it.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry
from slipway_devcluster import model
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from slipway_runtime.control import Control, Slot
from slipway_runtime.engines.llamacpp import Settings
from slipway_runtime.engines.vllm import GUARD
from slipway_runtime.guard.asgi import App, Guard, Message, Receive, Scope, Send
from slipway_runtime.guard.gate import Gate
from slipway_runtime.guard.settings import Settings as GuardSettings

AT_ONCE = 4
TOKENS = 64
PATIENCE = 300.0
RUNTIME = Path(__file__).parents[1] / "runtime-image"
PIECE = b'data: {"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'

ALONE = """
import sys, threading
import xllamacpp
from slipway_runtime.engines.llamacpp import Settings, fill
server = xllamacpp.Server(fill(xllamacpp.CommonParams(), Settings.from_json(sys.argv[1])))
threading.Event().wait()
"""
UNGUARDED = """
from types import SimpleNamespace
from slipway_runtime.engines import llamacpp_app
from slipway_runtime.guard.asgi import VISIT
def without(app, gate):
    async def let_all_in(scope, receive, send):
        scope[VISIT] = SimpleNamespace(work=True)
        await app(scope, receive, send)
    return let_all_in
llamacpp_app.Guard = without
llamacpp_app.main()
"""
LLAMACPP = {
    "alone": ["-c", ALONE],
    "unguarded": ["-c", UNGUARDED],
    "guarded": ["-m", "slipway_runtime.engines.llamacpp_app"],
}
VLLM = {
    "alone": ["--disable-uvicorn-access-log"],
    "guarded": ["--disable-uvicorn-access-log", f"--middleware={GUARD}"],
}
BUDGETS = {"unguarded": "the guard itself", "alone": "the guard and, with llama.cpp, the web app"}
"""What the guarded one is compared with, and what the difference then is the cost of."""
LATER, SLOWER = 0.3e-3, 0.99
"""What may be lost: seconds to the first token, and of the throughput what is beyond this share."""

Command = Callable[[int], list[str]]
"""That starts an engine on a port."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=10, help="of each, in turns (default: %(default)s)")
    parser.add_argument("--vllm", metavar="PYTHON", help="the Python of an environment with vLLM, instead of llama.cpp")
    arguments = parser.parse_args()
    asyncio.run(measure_guard())
    commands = of_vllm(arguments.vllm) if arguments.vllm else of_llamacpp()
    asyncio.run(measure_engine(commands, arguments.rounds))


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


def of_llamacpp() -> dict[str, Command]:
    cache = default_cache()
    settings = Settings(
        model=model.ensure_gguf(cache, Steps(cache)) / model.GGUF_FILE,
        name="gemma",
        host="127.0.0.1",
        port=0,
        context_length=1024,
        parallel=AT_ONCE,
        threads=2,
        parameters={},
    )

    def on(port: int, way: list[str]) -> list[str]:
        told = dataclasses.asdict(dataclasses.replace(settings, port=port))
        return [sys.executable, *way, json.dumps(told, default=str)]

    return {name: partial(on, way=way) for name, way in LLAMACPP.items()}


def of_vllm(python: str) -> dict[str, Command]:
    cache = default_cache()
    folder = model.ensure_hf(cache, Steps(cache))
    flags = [f"--model={folder}", "--served-model-name=gemma", "--max-model-len=1024", "--enforce-eager"]

    def on(port: int, way: list[str]) -> list[str]:
        variables = [f"PYTHONPATH={RUNTIME}", "VLLM_CPU_KVCACHE_SPACE=1", "HF_HUB_OFFLINE=1"]
        server = [python, "-m", "vllm.entrypoints.launchers.api_server.entry", "--host=127.0.0.1", f"--port={port}"]
        return ["env", *variables, *server, *flags, *way]

    return {name: partial(on, way=way) for name, way in VLLM.items()}


async def measure_engine(commands: Mapping[str, Command], rounds: int) -> None:
    first: dict[str, list[float]] = {name: [] for name in commands}
    rates: dict[str, list[float]] = {name: [] for name in commands}
    async with AsyncExitStack() as engines:
        running = {
            name: await engines.enter_async_context(engine(command, 18491 + number))
            for number, (name, command) in enumerate(commands.items())
        }
        # llama.cpp's own server closes connections at will, so none is used twice.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            for each in running.values():
                with each.awake():
                    await ask(http, each.url, tokens=TOKENS)
            for _ in range(rounds):
                for name in [name for _ in range(20) for name in shuffled(running)]:
                    with running[name].awake():
                        first[name].append((await ask(http, running[name].url, tokens=2))[0])
                for name in shuffled(running):
                    with running[name].awake():
                        rates[name].append(await tokens_per_second(http, running[name].url))
    report(first, rates)


def shuffled(names: Iterable[str]) -> list[str]:
    """In another order each time, so that none is always asked just after the same other."""
    return random.sample(list(names), len(list(names)))


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


@dataclass(frozen=True)
class Running:
    """Stopped, but for when it is asked."""

    url: str
    group: int  # of its processes

    @contextmanager
    def awake(self) -> Iterator[None]:
        os.killpg(self.group, signal.SIGCONT)
        yield
        os.killpg(self.group, signal.SIGSTOP)


@asynccontextmanager
async def engine(command: Command, port: int) -> AsyncIterator[Running]:
    quiet = subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command(port), stdout=quiet, stderr=quiet, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        await until_it_answers(url)
        os.killpg(process.pid, signal.SIGSTOP)
        yield Running(url, process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # vLLM has begun others
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


def report(first: dict[str, list[float]], rates: dict[str, list[float]]) -> None:
    for name, times in first.items():
        told = f"first token after {spread(times, 1e3, 2)} ms (n={len(times)})"
        print(f"{name:9} {told}, {spread(rates[name], 1, 1)} tokens/s, {AT_ONCE} at once (n={len(rates[name])})")
    for other, cost in ((other, cost) for other, cost in BUDGETS.items() if other in first):
        later = difference(first["guarded"], first[other], lambda a, b: a - b)
        ratio = difference(rates["guarded"], rates[other], lambda a, b: a / b)
        print(
            f"{cost}: first token {later[1] * 1e3:+.2f} [{later[0] * 1e3:+.2f}, {later[2] * 1e3:+.2f}] ms of "
            f"{LATER * 1e3:+.1f}, throughput {ratio[1]:.3f} [{ratio[0]:.3f}, {ratio[2]:.3f}] of {SLOWER}"
        )


def spread(values: Sequence[float], scale: float, digits: int) -> str:
    low, middle, high = difference(values, [0.0], lambda a, _: a)
    return f"{middle * scale:.{digits}f} [{low * scale:.{digits}f}, {high * scale:.{digits}f}]"


def difference(
    ours: Sequence[float], theirs: Sequence[float], of: Callable[[float, float], float], times: int = 2000
) -> tuple[float, float, float]:
    """Of the medians: 2.5 %, as measured, 97.5 %."""
    drawn = sorted(of(median_of_drawn(ours), median_of_drawn(theirs)) for _ in range(times))
    return drawn[times // 40], of(statistics.median(ours), statistics.median(theirs)), drawn[-times // 40]


def median_of_drawn(values: Sequence[float]) -> float:
    return statistics.median(random.choices(values, k=len(values)))


if __name__ == "__main__":
    main()
