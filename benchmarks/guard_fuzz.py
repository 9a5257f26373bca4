"""For how long at once the guard keeps its event loop, whatever is sent: bodies, heads, answers and events at random.

    PYTHONPATH=tests .venv/bin/python benchmarks/guard_fuzz.py --seconds 120

Requests and answers of up to 32 MiB go through a guard around an app that does nothing: JSON of the kinds that are the
most work for a parser, and junk, in pieces of all sizes. What is printed is the processor time of the loop's own thread
from one turn to the next, with what took the longest; so a machine that is busy with other things changes nothing. What
the bench itself does to make and to hand over data is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry
from slipway_runtime.control import Slot
from slipway_runtime.guard.asgi import Guard
from slipway_runtime.guard.exchange import Message, Receive, Scope, Send
from slipway_runtime.guard.gate import Gate
from slipway_runtime.guard.settings import GuardSettings

MIB = 1 << 20
KEY = b"a-key-of-alice"
ENGINES = ("vllm", "llamacpp")
HOSTILE: dict[str, Callable[[int], bytes]] = {
    "opening brackets": lambda size: b'{"x":' + b"[" * size,
    "empty arrays": lambda size: b'{"x":[' + b"[]," * (size // 3) + b"0]}",
    "empty arrays as values": lambda size: b"{" + b'"":[],' * (size // 6) + b'"":0}',
    "empty names": lambda size: b"{" + b'"":0,' * (size // 5) + b'"":0}',
    "names as escapes": lambda size: b"{" + b'"\\u006e":0,' * (size // 11) + b'"":0}',
    "models": lambda size: b"{" + b'"model":"gemma",' * (size // 16) + b'"":0}',
    "choices": lambda size: b'{"choices":[' + b"{}," * (size // 3) + b"0]}",
    "choices that go on": lambda size: b'{"choices":[' + b'{"finish_reason":null},' * (size // 23) + b"0]}",
    "usage again and again": lambda size: b"{" + b'"usage":{"prompt_tokens":1},' * (size // 28) + b'"":0}',
    "prompts": lambda size: b'{"prompt":[' + b'"",' * (size // 3) + b"0]}",
    "prompts of tokens": lambda size: b'{"prompt":[' + b"[]," * (size // 3) + b"0]}",
    "tokens": lambda size: b'{"prompt":[' + b"1," * (size // 2) + b"0]}",
    "parts of messages": lambda size: b'{"messages":[{"content":[' + b'{"url":""},' * (size // 11) + b"0]}]}",
    "empty messages": lambda size: b'{"messages":[' + b"[]," * (size // 3) + b"0]}",
    "pictures": lambda size: b'{"messages":[{"content":[' + b'{"image_url":""},' * (size // 17) + b"0]}]}",
    "an endless string": lambda size: b'{"model":"' + b"x" * size,
    "backslashes": lambda size: b'{"x":"' + b"\\" * size + b'"}',
    "quotation marks": lambda size: b'"' * size,
    "white space": lambda size: b'{"x":' + b" " * size + b"0}",
    "digits": lambda size: b'{"usage":{"prompt_tokens":' + b"1" * size + b"}}",
    "numbers": lambda size: b'{"data":[' + b"-0.0123456789," * (size // 14) + b"0]}",
    "line ends": lambda size: b"\n" * size,
    "empty data": lambda size: b"data:\n" * (size // 6),
    "events without data": lambda size: b":\n\n" * (size // 3),
    "events": lambda size: b'data: {"choices":[{"text":"a","finish_reason":null}]}\n\n' * (size // 56),
    "lines of an event": lambda size: b'data: {"choices":[\n' * (size // 20),
    "events with usage": lambda size: b'data: {"choices":[{"index":1}],"usage":{"total_tokens":1}}\n\n' * (size // 60),
    "errors": lambda size: b'data: {"error":{"code":500}}\n\n' * (size // 30),
    "an endless event": lambda size: b'data: {"error":{"message":"' + b"x" * size,
    "a deep grammar": lambda size: b'{"grammar":"root ::= ' + b"(" * size + b'"}',
    "a long grammar": lambda size: b'{"grammar":"root ::= ' + b"a | " * (size // 4) + b'a"}',
    "a deep schema": lambda size: b'{"json_schema":' + b'{"items":' * (size // 9) + b"0" + b"}" * (size // 9) + b"}",
    "a wide schema": lambda size: b'{"json_schema":{"anyOf":[' + b'{"type":"string"},' * (size // 18) + b"0]}}",
    "samplers": lambda size: b'{"samplers":[' + b'"top_k",' * (size // 8) + b"0]}",
    "biases": lambda size: b'{"logit_bias":[' + b"[1,0.5]," * (size // 8) + b"0]}",
    "tools": lambda size: b'{"tools":[' + b'{"function":{"parameters":{}}},' * (size // 31) + b"0]}",
    "junk": random.randbytes,
}
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/tokenize")


class LoopClock:
    """The processor time of this thread between what isn't the guard's."""

    def __init__(self) -> None:
        self.worst: dict[str, float] = {}
        self.doing = ""
        self._since = time.thread_time()
        self._searching = self._search_began = 0.0
        gc.callbacks.append(self._search)

    def begin(self) -> None:
        self._since, self._searching = time.thread_time(), 0.0

    def end(self) -> None:
        self._remember(self.doing, time.thread_time() - self._since - self._searching)

    def _search(self, phase: str, info: dict[str, int]) -> None:
        """Exclude garbage collection, which is reported separately."""
        now = time.thread_time()
        if phase == "start":
            self._search_began = now
        else:
            self._searching += now - self._search_began
            self._remember(f"a search for garbage, generation {info['generation']}", now - self._search_began)

    def _remember(self, name: str, seconds: float) -> None:
        self.worst[name] = max(self.worst.get(name, 0.0), seconds)

    def around(self, loop: asyncio.SelectorEventLoop) -> None:
        """Make each iteration of the event loop a span."""
        once = loop._run_once  # type: ignore[attr-defined]

        def turn() -> None:
            self.begin()
            once()
            self.end()

        loop._run_once = turn  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20))
    options = parser.parse_args()
    watch, loop = LoopClock(), asyncio.SelectorEventLoop()
    watch.around(loop)
    number = loop.run_until_complete(fuzz(watch, options.seconds, options.seed))
    loop.close()
    print(f"{number} requests from seed {options.seed}; the loop was kept at once for at most:")
    for name, seconds in sorted(watch.worst.items(), key=lambda item: -item[1])[:15]:
        print(f"  {seconds * 1e3:6.2f} ms  {name}")


async def fuzz(watch: LoopClock, seconds: float, seed: int) -> int:
    number, until = 0, time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "keys").mkdir()
        (Path(folder) / "keys/alice").write_bytes(KEY)
        gates = {engine: gate_of(engine, folder) for engine in ENGINES}
        while time.monotonic() < until:
            await one(gates, watch, random.Random(seed + number))
            number += 1
        for gate in gates.values():
            gate.close()
    return number


def gate_of(engine: str, folder: str) -> Gate:
    settings = GuardSettings(
        engine=engine,
        keys=f"{folder}/keys",
        access_log=False,
        models=("gemma",),
        tokens_per_minute_per_key=10**12,
    )
    return Gate(settings, Slot.alone(), CollectorRegistry())


async def one(gates: dict[str, Gate], watch: LoopClock, chance: random.Random) -> None:
    random.seed(chance.random())
    what, size = chance.choice(list(HOSTILE)), chance.choice((100, 5000, 100_000, MIB, MIB, 30 * MIB))
    data = HOSTILE[what](size)[: 32 * MIB - 1]
    pieces = cut(chance, data)
    where = chance.choice(("body", "head", "answer", "stream", "error"))
    engine = chance.choice(ENGINES)
    nothing_yet = watch.doing = "making data"
    await asyncio.sleep(0)
    if where == "head":
        pieces = pieces[:1]
    watch.doing = f"{engine}, {where}: {what}, {len(data)} bytes in {len(pieces)} pieces"
    await asyncio.sleep(0)
    with suppress(ConnectionAbortedError):
        await ask(gates[engine], chance, where, pieces)
    watch.doing = nothing_yet
    watch.worst.pop(nothing_yet, None)


def cut(chance: random.Random, data: bytes) -> list[bytes]:
    """Split data as servers and engines do: all at once, or by reads of a socket; short data also byte by byte."""
    size = chance.choice((len(data), 65_536, 65_536, 1 if len(data) <= 5000 else 300_000))
    return [data[at : at + size] for at in range(0, len(data), size)]


async def ask(gate: Gate, chance: random.Random, where: str, pieces: list[bytes]) -> None:
    """Deliver each piece in an iteration of the event loop of its own, as a socket does."""
    head = pieces[0][:60_000] if where == "head" else b"x"
    headers = [(b"content-type", b"application/json"), (b"authorization", b"Bearer " + KEY)]
    headers += [(chance.choice((b"traceparent", b"x-request-id", b"x-api-key", b"content-length", b"x")), head)]
    sent = [{"type": "http.request", "body": piece, "more_body": True} for piece in (pieces if where == "body" else [])]
    sent.append({"type": "http.request", "body": b"{}" if where != "body" else b"", "more_body": False})
    sent.reverse()

    async def receive() -> Message:
        await asyncio.sleep(0)
        return sent.pop() if sent else {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        return

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kind = b"text/event-stream" if where == "stream" else b"application/json"
        status = 400 if where == "error" else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        for piece in pieces if where in ("answer", "stream", "error") else ():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})

    scope = {"type": "http", "method": "POST", "path": chance.choice(PATHS), "headers": headers}
    await Guard(app, gate)(scope, receive, send)


if __name__ == "__main__":
    main()
