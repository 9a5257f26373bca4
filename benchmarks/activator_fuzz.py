"""How long hostile clients and a hostile pod block the activator's event loop.

.venv/bin/python benchmarks/activator_fuzz.py --seconds 120

Clients draw requests at random, send them in pieces or in one go, read the responses or don't, and leave at random; a
pod that appears and disappears responds at random, too. The activator's loop is watched from within, in a process of
its own (`path/stalls.py` says how). The promise is about one step of the loop: nothing that a client sends may take
more than 10 ms of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import uvloop
from machine import piped
from path.hostile import ANSWERS, METRICS, REQUESTS, with_length
from path.program import found_in

HERE = Path(__file__).parent
BURST = 200  # connections that are opened at once
ROUND = 1.0  # seconds
COLUMNS = {
    "step": "longest step, ms of a processor",
    "garbage": "longest search for garbage",
    "turn": "all steps between two ticks",
    "clock": "the same by the clock",
}


class FuzzedActivator:
    """An activator in a process of its own, which reports what kept its event loop from serving others."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._stdin, self._stdout = piped(process.stdin), piped(process.stdout)
        self.port = 0

    async def ask(self, line: str) -> str:
        self._stdin.write(f"{line}\n".encode())
        return (await self._stdout.readline()).decode()

    @classmethod
    @asynccontextmanager
    async def started(cls) -> AsyncIterator[FuzzedActivator]:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "path" / "fuzzed.py"),
            stdin=pipe,
            stdout=pipe,
            env={"PYTHONPATH": found_in()},
        )
        try:
            watched = cls(process)
            watched.port = int(await watched._stdout.readline())
            yield watched
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def client(port: int, draw: random.Random, name: str) -> None:
    """One connection, as long as it likes."""
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        async with asyncio.timeout(draw.choice((0.1, 1.0, 5.0))):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await _talk(reader, writer, draw, REQUESTS[name](draw))
            finally:
                writer.transport.abort() if draw.random() < 0.5 else writer.close()


async def _talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, draw: random.Random, said: bytes) -> None:
    size = draw.choice((1 << 20, 1 << 16, 1000))
    for at in range(0, len(said), size):
        writer.write(said[at : at + size])
        await writer.drain()
    if draw.random() < 0.3:
        writer.write_eof()
    if draw.random() < 0.7:
        while await reader.read(1 << 16):
            pass
    await asyncio.sleep(draw.choice((0.0, 0.3)))


async def burst(port: int) -> None:
    """Connections that say nothing, all at once."""
    loop = asyncio.get_running_loop()
    socks = [socket.socket() for _ in range(BURST)]
    try:
        for sock in socks:
            sock.setblocking(False)
        with contextlib.suppress(OSError):
            await asyncio.gather(*(loop.sock_connect(sock, ("127.0.0.1", port)) for sock in socks))
        await asyncio.sleep(0.05)
    finally:
        for sock in socks:
            sock.close()


async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, draw: random.Random) -> None:
    """Answers anything with anything, and metrics with odd ones."""
    with contextlib.suppress(OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            of_metrics = head.startswith(b"GET /metrics") and draw.random() < 0.8
            said = draw.choice(list(ANSWERS.values()))(draw)
            if of_metrics:
                said = with_length(b"HTTP/1.1 200 OK\r\n", draw.choice(list(METRICS.values()))(draw))
            size = draw.choice((1 << 20, 1 << 16, 100))
            for at in range(0, len(said), size):
                writer.write(said[at : at + size])
                await writer.drain()
            await asyncio.sleep(draw.choice((0.0, 0.2)))
    writer.close()


async def attack(
    watched: FuzzedActivator, draw: random.Random, names: list[str], *, seconds: float, at_once: int
) -> int:
    """Returns how many connections there were."""
    number, end = 0, time.monotonic() + seconds

    async def one() -> None:
        nonlocal number
        while time.monotonic() < end:
            number += 1
            await client(watched.port, draw, draw.choice(names))

    await asyncio.gather(*(one() for _ in range(at_once)))
    return number


async def fuzz(*, seconds: float, at_once: int, seed: int, only: str | None) -> None:
    draw = random.Random(seed)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(pod(reader, writer, draw))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    worst: defaultdict[str, Counter[str]] = defaultdict(Counter)
    long: Counter[str] = Counter()
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port, connections, most = server.sockets[0].getsockname()[1], 0, 0.0
    names = [only] if only else [*REQUESTS, "a burst", "all"]
    async with FuzzedActivator.started() as watched:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name in names:
                await watched.ask(f"ready {port}" if draw.random() < 0.5 else "ready")
                await watched.ask("worst")
                if name == "a burst":
                    await burst(watched.port)
                else:
                    drawn = list(REQUESTS) if name == "all" else [name]
                    connections += await attack(watched, draw, drawn, seconds=ROUND, at_once=at_once)
                said = json.loads(await watched.ask("worst"))
                worst[name] |= Counter({each: said[each] for each in COLUMNS})
                long |= Counter(said["long"])
                most = max(most, said["rss"])
    server.close()
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    _print(worst, long)
    click.echo(f"\n{connections} connections, seed {seed}; the activator's RSS was {most:.0f} MiB at most")


def _print(worst: dict[str, Counter[str]], long: Counter[str]) -> None:
    click.echo(f"| what clients sent | {' | '.join(COLUMNS.values())} |\n|---|{'---|' * len(COLUMNS)}")
    for name, row in sorted(worst.items(), key=lambda row: -row[1]["step"]):
        click.echo(f"| {name} | {' | '.join(f'{row[each]:.1f}' for each in COLUMNS)} |")
    for name, took in long.most_common():
        click.echo(f"{took:6.1f} ms  {name}")


@click.command()
@click.option("--seconds", type=float, default=600.0, show_default=True, help="How long, in all.")
@click.option("--at-once", type=int, default=16, show_default=True, help="Clients at a time.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of what is drawn.")
@click.option("--only", type=click.Choice([*REQUESTS, "a burst", "all"]), help="Nothing else is sent.")
def main(seconds: float, at_once: int, seed: int, only: str | None) -> None:
    """Look for what keeps the activator's event loop from serving others."""
    uvloop.run(fuzz(seconds=seconds, at_once=at_once, seed=seed, only=only))


if __name__ == "__main__":
    main()
