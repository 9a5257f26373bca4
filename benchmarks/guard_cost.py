"""What the guard costs: requests to one engine, alternately through the guard and around it; and the guard alone.

    make bench-guard
    make bench-guard ARGS="--vllm $(.venv/bin/python -P tests/support/programs/vllm_environment.py)"

First the guard around an app that does nothing: processor time for a request, and for each piece of a stream, one right
after the other and with other memory used in between, as a busy server does from one token of a stream to the next.
Then an engine, in the one web app that both ways lead to: two processes of the same engine differ by more than the
guard costs. It is llama.cpp, compared with llama.cpp's own server (alone), or vLLM.

The time to the first token is taken with a tiny model with random weights, since what the guard adds is the same for
any model, and would be lost among a real one's ups and downs; throughput with the demo model, several requests at once.
Each is a median with the interval that holds it at 95 % by the bootstrap.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import guard_switch
import llamacpp_alone
from aiohttp import ClientSession, TCPConnector
from llamacpp_alone import NAME
from machine import tidy_up_when_told_to_end
from prometheus_client import CollectorRegistry
from slipway_devcluster import model
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from slipway_runtime.control import Control, Slot
from slipway_runtime.guard.asgi import Guard
from slipway_runtime.guard.exchange import App, Message, Receive, Scope, Send
from slipway_runtime.guard.gate import Gate
from slipway_runtime.guard.settings import GuardSettings
from support.builders.model_files import write_checkpoint, write_gguf

TOKENS = 128  # of an answer: of 32, one step of the engine that a request misses is 3 % already
MEMORY = 2_000_000  # bytes; more than the caches that a processor has to itself
PATIENCE = 300.0
HERE = Path(__file__).parent
RUNTIME = HERE.parent / "runtime-image"
CHOICE = b'{"index":0,"text":" word","logprobs":null,"finish_reason":null,"stop_reason":null,"token_ids":null}'
HEADERS = [*[(b"accept", b"x")] * 7, (b"content-type", b"application/json")]
PIECE = (
    b'data: {"id":"cmpl-9f0c1d2e3a4b5c6d7e8f9a0b1c2d3e4f","object":"text_completion","created":1795337345,'
    b'"model":"gemma","choices":[' + CHOICE + b'],"usage":null}\n\n'
)
"""As vLLM writes it."""

IN_THE_APP = """
import guard_switch
from slipway_runtime.engines.llamacpp import app
app.Guard = guard_switch.Switch
app.main()
"""
MODULE = "from slipway_runtime.engines.vllm import installed; print(installed().module)"
"""By which this vLLM is started."""
ALONE_AT, IN_THE_APP_AT = 18491, 18492
BUDGETS = {"around": "the guard", "alone": "the guard and the web app"}
"""What the way through the guard is compared with, and what the difference then is the cost of."""
LATER, SLOWER = 0.3e-3, 0.99
"""What may be lost: seconds to the first token, and of the throughput what is beyond this share."""

Commands = Mapping[int, Sequence[str]]
"""That start engines, by their ports."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--asked", type=int, default=2000, help="requests each way, one by one (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=60, help="each way, several at once (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=4, metavar="N", help="requests, for throughput (default: 4)")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of each of those answers (default: %(default)s)")
    parser.add_argument("--vllm", metavar="PYTHON", help="the Python of an environment with vLLM, instead of llama.cpp")
    parser.add_argument("--model", type=Path, help="for vLLM: a folder, instead of both models on CPUs")
    parser.add_argument("flags", nargs="*", help="after --: vLLM's own")
    options = parser.parse_args()
    tidy_up_when_told_to_end()
    asyncio.run(measure_guard())
    with tempfile.TemporaryDirectory() as folder:
        tiny, demo = of_vllm(options, Path(folder)) if options.vllm else of_llamacpp(Path(folder))
        asyncio.run(measure_first_tokens(tiny, options.asked))
        asyncio.run(measure_throughput(demo, options.rounds, options.at_once, options.tokens))


# --- the guard alone -------------------------------------------------------------------------------------------------


async def measure_guard(requests: int = 300, pieces: int = 200) -> None:
    with a_gate() as gate:
        bare, guarded = streaming(pieces), Guard(streaming(pieces), gate)
        empty, empty_guarded = streaming(0), Guard(streaming(0), gate)
        whole = [await seconds_of(app, requests) for app in (bare, guarded)]
        start = [await seconds_of(app, requests) for app in (empty, empty_guarded)]
        cold = [await seconds_of_a_cold_piece(around) for around in (bare_app, lambda app: Guard(app, gate))]
    request = (start[1] - start[0]) / requests
    piece = (whole[1] - whole[0] - (start[1] - start[0])) / requests / pieces
    print(
        f"the guard by itself: {request * 1e6:.0f} µs for a request, {piece * 1e6:.1f} µs for each piece of its stream"
    )
    print(f"  where other memory was used in between: {(cold[1] - cold[0]) * 1e6:.1f} µs for a piece")


async def seconds_of(app: Callable[[Scope, Receive, Send], Awaitable[None]], requests: int) -> float:
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": HEADERS}

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


async def seconds_of_a_cold_piece(around: Callable[[App], App], pieces: int = 400) -> float:
    """The median of the calls alone: what they return is awaited later, and is the same."""
    found, memory, other = list[float](), bytearray(MEMORY), bytes(MEMORY)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for _ in range(pieces):
            message = {"type": "http.response.body", "body": PIECE, "more_body": True}
            memory[:] = other
            began = time.perf_counter()
            sent = send(message)
            found.append(time.perf_counter() - began)
            await sent
        await send({"type": "http.response.body", "body": b""})

    await seconds_of(around(app), 1)
    return statistics.median(found)


def bare_app(app: App) -> App:
    return app


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


# --- the engines -----------------------------------------------------------------------------------------------------


def of_llamacpp(folder: Path) -> tuple[Commands, Commands]:
    cache = default_cache()
    demo = model.ensure_gguf(cache, Steps(cache)) / model.GGUF_FILE
    tiny = write_gguf(folder / "tiny.gguf")
    return (
        {port: llamacpp(port, tiny, 512) for port in (ALONE_AT, IN_THE_APP_AT)},
        {port: llamacpp(port, demo, 1024) for port in (ALONE_AT, IN_THE_APP_AT)},
    )


def llamacpp(port: int, file: Path, context: int) -> list[str]:
    if port == ALONE_AT:
        return llamacpp_alone.command(file, port=port, context=context)
    settings = llamacpp_alone.settings(file, port=port, context=context)
    return ["env", f"PYTHONPATH={HERE}", sys.executable, "-c", IN_THE_APP, settings]


def of_vllm(options: argparse.Namespace, folder: Path) -> tuple[Commands, Commands]:
    if options.model:
        given = {IN_THE_APP_AT: vllm(options.vllm, options.model, options.flags)}
        return given, given
    cache = default_cache()
    demo = model.ensure_hf(cache, Steps(cache))
    tiny = write_checkpoint(folder, max_position_embeddings=1024)
    flags = ["--max-model-len=1024", "--enforce-eager", *options.flags]
    return {IN_THE_APP_AT: vllm(options.vllm, tiny, flags)}, {IN_THE_APP_AT: vllm(options.vllm, demo, flags)}


def vllm(python: str, folder: Path, flags: Sequence[str]) -> list[str]:
    start = ["env", f"PYTHONPATH={RUNTIME}:{HERE}", "HF_HUB_OFFLINE=1", "VLLM_CPU_KVCACHE_SPACE=1", python]
    module = subprocess.check_output([*start, "-c", MODULE], text=True).strip()
    ours = [f"--model={folder}", f"--served-model-name={NAME}", "--middleware=guard_switch.Switch"]
    address = ["--host=127.0.0.1", f"--port={IN_THE_APP_AT}", "--disable-uvicorn-access-log"]
    return [*start, "-m", module, *address, *ours, *flags]


@asynccontextmanager
async def serving(commands: Commands) -> AsyncIterator[list[EngineClient]]:
    async with AsyncExitStack() as stack:
        for port, command in commands.items():
            await stack.enter_async_context(engine(command, port))
        # llama.cpp's own server closes connections at will, so none is used twice.
        http = await stack.enter_async_context(ClientSession(connector=TCPConnector(force_close=True, limit=0)))
        ways = [
            EngineClient("through", IN_THE_APP_AT, http),
            EngineClient("around", IN_THE_APP_AT, http, {guard_switch.AROUND: "1"}),
        ]
        yield [*ways, *(EngineClient("alone", port, http) for port in commands if port == ALONE_AT)]


@asynccontextmanager
async def engine(command: Sequence[str], port: int) -> AsyncIterator[None]:
    quiet = subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        await until_it_answers(f"http://127.0.0.1:{port}", process)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # vLLM has started others
        await process.wait()


async def until_it_answers(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(PATIENCE), ClientSession() as http:
        while True:
            if process.returncode is not None:
                raise SystemExit(f"The engine ended with exit code {process.returncode} before it answered.")
            with suppress(aiohttp.ClientConnectionError):
                async with http.get(f"{url}/health") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)


# --- with an engine --------------------------------------------------------------------------------------------------


async def measure_first_tokens(commands: Commands, asked: int) -> None:
    times: dict[str, list[float]] = {}
    async with serving(commands) as ways:
        for way in ways:
            await way.tokens_per_second(4)
        for way in [way for _ in range(asked) for way in shuffled(ways)]:
            times.setdefault(way.name, []).append(way.to_first_token())
    for name, found in times.items():
        print(f"{name:8} first token after {spread(found, 1e3, 2)} ms (n={len(found)})")
    for other, cost in told_of(times):
        low, middle, high = difference(times["through"], times[other], lambda a, b: a - b)
        print(f"{cost}: {middle * 1e3:+.2f} [{low * 1e3:+.2f}, {high * 1e3:+.2f}] ms, at most {LATER * 1e3:+.1f}")


async def measure_throughput(commands: Commands, rounds: int, at_once: int, tokens: int) -> None:
    rates: dict[str, list[float]] = {}
    async with serving(commands) as ways:
        for way in ways:
            await way.tokens_per_second(at_once)
        for way in [way for _ in range(rounds) for way in shuffled(ways)]:
            rates.setdefault(way.name, []).append(await way.tokens_per_second(at_once, tokens))
    for name, found in rates.items():
        print(f"{name:8} {spread(found, 1, 1)} tokens/s, {at_once} at once (n={len(found)})")
    for other, cost in told_of(rates):
        pairs = [ours / theirs for ours, theirs in zip(rates["through"], rates[other], strict=True)]
        print(f"{cost}: {spread(pairs, 1, 3)} of the tokens/s, at least {SLOWER}")


def told_of(found: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(other, cost) for other, cost in BUDGETS.items() if other in found]


def shuffled(ways: Sequence[EngineClient]) -> list[EngineClient]:
    """The clients in random order, so that none always follows the same other one."""
    return random.sample(ways, len(ways))


@dataclass(frozen=True)
class EngineClient:
    """A client of an engine."""

    name: str
    port: int
    http: ClientSession
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_first_token(self) -> float:
        """By a plain socket, for a client's own work would be more than what is looked for."""
        body = json.dumps(self._body(tokens=2)).encode()
        headers = {"Host": "x", "Content-Type": "application/json", "Content-Length": len(body), **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        asked = b"POST /v1/completions HTTP/1.1\r\n" + head.encode() + b"Connection: close\r\n\r\n" + body
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            began, answer = time.monotonic(), b""
            connection.sendall(asked)
            while b"data: {" not in answer:
                piece = connection.recv(65536)
                if not piece:
                    raise ConnectionError(f"the connection {self.name} ended without a token: {answer!r}")
                answer += piece
            first = time.monotonic() - began
            while connection.recv(65536):
                pass
        return first

    async def tokens_per_second(self, at_once: int, tokens: int = TOKENS) -> float:
        began = time.monotonic()
        came = await asyncio.gather(*(self._tokens(tokens) for _ in range(at_once)))
        return sum(came) / (time.monotonic() - began)

    async def _tokens(self, tokens: int) -> int:
        url, body = f"http://127.0.0.1:{self.port}/v1/completions", self._body(tokens=tokens)
        async with self.http.post(url, json=body, headers=self.headers) as answer:
            return sum([line.startswith(b"data: {") async for line in answer.content])

    def _body(self, *, tokens: int) -> dict[str, object]:
        return {"model": NAME, "prompt": "Once", "max_tokens": tokens, "stream": True, "ignore_eos": True}


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
