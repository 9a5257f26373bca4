"""vLLM under load, with its own server and with slipway-runtime's: both run on one device and are loaded alternately.

python benchmarks/vllm_load.py --model FOLDER --at-once 64,256,512 --rounds 4 --output load.json.gz -- FLAGS

The flags are given to both; on a GPU they must leave room for two, as with `--gpu-memory-utilization=0.3
--kv-cache-memory-bytes=40G`. One request at a time gives the time to the first token, many at once the tokens per
second. It needs nothing but the Python that vLLM is installed in.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import results
from effort import Effort, Server
from machine import tidy_up_when_told_to_end
from vllm_start import NAME, StartKind, StartOptions, about, started

PORTS = {"stock": 8125, "fast": 8127}  # each with the one after it
WORDS = 256  # different tokens that prompts are made of; every vocabulary has so many


@dataclass(frozen=True)
class LoadResult:
    way: str
    at_once: int
    tokens_per_second: float
    first_token: float  # ms, the median
    effort: Effort

    @property
    def while_the_core_works(self) -> float:
        """Tokens per second: what the engine does with what it has been given."""
        return self.tokens_per_second / self.effort.core

    def __str__(self) -> str:
        measured = f"{self.tokens_per_second:8.1f} tokens/s, first token after {self.first_token:.2f} ms"
        return f"{self.way:6} {self.at_once:4} at once: {measured}; {self.effort}"


@dataclass(frozen=True)
class Load:
    """So many requests, so many of them at once."""

    at_once: int
    requests: int
    prompt: int
    tokens: int
    clients: int  # processes: one would be busier than the server

    def one(self, seed: int) -> Load:
        """The part of one process."""
        at_once, requests = (
            total // self.clients + (seed < total % self.clients) for total in (self.at_once, self.requests)
        )
        return replace(self, at_once=at_once, requests=requests, clients=1)


def main(argv: Sequence[str] | None = None) -> None:
    options = _options(argv)
    tidy_up_when_told_to_end()
    measured: list[LoadResult] = []
    servers: dict[str, Server] = {}
    with tempfile.TemporaryDirectory(prefix="vllm-load-") as scratch, ExitStack() as running:
        folder = options.folder or Path(scratch)
        for way, port in PORTS.items():
            bench = StartOptions(options.model, tuple(options.flags), folder, port)
            server = running.enter_context(started(bench, StartKind(way), folder / f"load-{way}.log"))
            servers[way] = Server(server.pid, port if way == "stock" else bench.management)
            print(f"{way} answers", flush=True)
        if options.apart:
            _keep_apart(servers.values())
        for load in _loads(options):
            for number in range(-1, options.rounds):
                for way in random.sample(list(PORTS), len(PORTS)):
                    found = put(load, way, servers[way])
                    if number >= 0:  # what goes before warms up
                        measured.append(found)
                        print(found, flush=True)
                        _save(options, measured)
    print("\n".join(_table(measured)))


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, required=True)
    add("--at-once", default="64,256,512", help="requests (default: %(default)s); one at a time comes before")
    add("--rounds", type=int, default=4, help="of each load, alternately (default: %(default)s)")
    add("--each", default="3", help="requests that each of those at once makes, for each load (default: %(default)s)")
    add("--alone", type=int, default=100, help="requests one at a time, before the others (default: %(default)s)")
    add("--prompt", type=int, default=512, help="tokens (default: %(default)s)")
    add("--tokens", type=int, default=128, help="of an answer (default: %(default)s)")
    add("--apart", action="store_true", help="the servers' main threads have a processor that nothing else is on")
    add("--folder", type=Path, help="for caches and logs; kept, so that another run, or vllm_start, finds them")
    add("--output", type=Path, help="file for all results as JSON, compressed if it ends in .gz")
    add("flags", nargs="*", help="vLLM's own")
    return parser.parse_args(argv)


def _keep_apart(servers: Iterable[Server]) -> None:
    first, *others = sorted(os.sched_getaffinity(0))
    for server in servers:
        server.keep_apart(first, set(others))
    os.sched_setaffinity(0, others)


def _loads(options: argparse.Namespace) -> list[Load]:
    clients = max(1, min(8, len(os.sched_getaffinity(0)) // 2))
    many, each = ([int(number) for number in given.split(",")] for given in (options.at_once, options.each))
    alone = [Load(1, options.alone, options.prompt, 2, 1)] if options.alone else []
    counts = zip(many, each * len(many) if len(each) == 1 else each, strict=True)
    return [*alone, *(Load(number, number * by, options.prompt, options.tokens, clients) for number, by in counts)]


# --- the load --------------------------------------------------------------------------------------------------------


def put(load: Load, way: str, server: Server) -> LoadResult:
    """On the server of that way."""
    before = server.so_far()
    context = multiprocessing.get_context("spawn")
    with context.Pool(load.clients, _meet_at, [context.Barrier(load.clients)]) as pool:
        parts = pool.starmap(_client, [(load.one(seed), PORTS[way], seed) for seed in range(load.clients)])
    took = max(part[1] for part in parts) - min(part[0] for part in parts)
    first = [seconds for part in parts for seconds in part[2]]
    if len(first) != load.requests:
        raise RuntimeError(f"only {len(first)} of {load.requests} requests were answered")
    effort = server.so_far().since(before, took, load.requests * load.tokens)
    return LoadResult(way, load.at_once, load.requests * load.tokens / took, statistics.median(first) * 1e3, effort)


_gates: list[Barrier] = []
"""In a client's process: the barrier at which all clients wait, so that the server gets the full load at once."""


def _meet_at(gate: Barrier) -> None:
    _gates.append(gate)


def _client(load: Load, port: int, seed: int) -> tuple[float, float, list[float]]:
    chance = random.Random(f"{os.getpid()} {seed} {time.monotonic()}")
    bodies = [_body(load, chance) for _ in range(load.requests)]
    _gates[0].wait()
    return asyncio.run(_ask_all(load, port, bodies))


async def _ask_all(load: Load, port: int, bodies: list[bytes]) -> tuple[float, float, list[float]]:
    first: list[float] = []
    began = time.monotonic()

    async def one_after_the_other() -> None:
        while bodies:
            first.append(await _ask(port, bodies.pop(), load.tokens))

    await asyncio.gather(*(one_after_the_other() for _ in range(load.at_once)))
    return began, time.monotonic(), first


def _body(load: Load, chance: random.Random) -> bytes:
    prompt = [chance.randrange(3, WORDS) for _ in range(load.prompt)]
    asked = {"model": NAME, "prompt": prompt, "max_tokens": load.tokens, "ignore_eos": True, "temperature": 0}
    return json.dumps({**asked, "stream": True}).encode()


async def _ask(port: int, body: bytes, tokens: int) -> float:
    """Seconds to the first token. By hand: a client's parsing would be more than what is looked for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began, first, tail = time.monotonic(), 0.0, b""
    head = ["POST /v1/completions HTTP/1.1", "Host: x", "Connection: close", "Content-Type: application/json"]
    writer.write("\r\n".join([*head, f"Content-Length: {len(body)}\r\n\r\n"]).encode() + body)
    while piece := await reader.read(1 << 16):
        tail = tail[-6:] + piece
        if not first and b"data: {" in tail:
            first = time.monotonic() - began
    writer.close()
    if not first or not tail.endswith(b"0\r\n\r\n"):
        raise ConnectionError(f"a response broke off after {tokens} tokens: {tail!r}")
    return first


# --- reporting -------------------------------------------------------------------------------------------------------


def _save(options: argparse.Namespace, measured: Sequence[LoadResult]) -> None:
    if options.output:
        loads = [asdict(found) for found in measured]
        results.write(options.output, {**about(tuple(options.flags)), "loads": loads})


def _table(measured: Sequence[LoadResult]) -> Iterator[str]:
    yield f"{'medians':34} {'at once':>7} {'stock':>9} {'fast':>9} {'of stock':>9} {'in pairs':>9}"
    for name, value in COLUMNS.items():
        for at_once in dict.fromkeys(found.at_once for found in measured):
            stocks, fasts = (
                [value(found) for found in measured if (found.way, found.at_once) == (way, at_once)]
                for way in ("stock", "fast")
            )
            stock, fast = statistics.median(stocks), statistics.median(fasts)
            pairs = statistics.median(one / other for one, other in zip(fasts, stocks, strict=True))
            yield f"{name:34} {at_once:7} {stock:9.1f} {fast:9.1f} {fast / stock:9.3f} {pairs:9.3f}"


COLUMNS: dict[str, Callable[[LoadResult], float]] = {
    "tokens per second": lambda found: found.tokens_per_second,
    "tokens per second of the core": lambda found: found.while_the_core_works,
    "ms to the first token": lambda found: found.first_token,
    "µs of the server for a token": lambda found: found.effort.server_per_token,
}


if __name__ == "__main__":
    main()
