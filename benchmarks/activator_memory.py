"""How much memory the activator takes when all that it may hold is held, against what it accounts.

.venv/bin/python benchmarks/activator_memory.py
.venv/bin/python benchmarks/activator_memory.py --max-mib 256 --only "8 MiB"

The activator is a process of its own on loopback, a fresh one for each row, with 16 sleeping deployments. Clients of
256 addresses fill it until all are held or refused; then a replica is ready for all of them. The peak is the kernel's
own (VmHWM), so nothing between two looks is missed. What the kernel keeps in socket buffers is in none of the numbers.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click
import uvloop

HERE = Path(__file__).parent
KIB, MIB = 1 << 10, 1 << 20
SETTLES_AFTER = 2.0  # seconds without a change of what is accounted
WAKE_WITHIN = 30.0  # seconds that are watched of a wake
UNREAD_FOR = 5.0  # seconds, of answers that nobody reads
LONGEST = 120.0  # seconds for each row

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: llama\r\n"
LARGE_HEADERS = b"".join(b"x-header-%d: %b\r\n" % (each, b"x" * 130) for each in range(90))

Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Filling:
    """What one row sends, and how the other side behaves."""

    what: str
    number: int
    body: int
    headers: bytes = b""
    answer: int = 2  # bytes
    reads_slowly: bool = False  # the replica its requests
    is_read: bool = True  # the answer, by the clients


FILLINGS = (
    Filling("bodies of 8 MiB", 160, 8 * MIB - KIB),
    Filling("bodies of 8 MiB, a slow replica", 160, 8 * MIB - KIB, reads_slowly=True),
    Filling("bodies of 4 KiB", 4000, 4 * KIB),
    Filling("heads of 13 KiB", 1000, 2, headers=LARGE_HEADERS),
    Filling("answers of 1 MiB that nobody reads", 500, 2, answer=MIB, is_read=False),
)


@dataclass
class Row:
    what: str
    held: int
    accounted: float
    idle: float
    rss: float
    peak: float

    def line(self) -> str:
        """In MiB. The ratio is of what the activator takes beyond what it takes idle, to what it accounts."""
        ratio = (self.peak - self.idle) / max(self.accounted, 0.001)
        numbers = (self.accounted, self.idle, self.rss, self.peak)
        return f"| {self.what} | {self.held} | {' | '.join(f'{each:.0f}' for each in numbers)} | {ratio:.2f} |"


@click.command()
@click.option("--max-mib", type=int, default=0, help="As --max-bytes of the activator; without it, its default.")
@click.option("--only", default="", help="Rows whose name has this in it.")
def main(max_mib: int, only: str) -> None:
    """Fill the activator, and measure its memory."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    click.echo("| what | held | accounted | RSS idle | RSS held | peak, the wake included | peak / accounted |")
    click.echo("| --- | --- | --- | --- | --- | --- | --- |")
    for filling in FILLINGS:
        if only in filling.what:
            click.echo(uvloop.run(measure(filling, max_mib * MIB)).line())


async def measure(filling: Filling, max_bytes: int) -> Row:
    async with asyncio.timeout(LONGEST), AsyncExitStack() as stack:
        replica = await stack.enter_async_context(serving(filling))
        house = await stack.enter_async_context(House.started(max_bytes))
        idle = house.memory("VmRSS")
        clients = [
            asyncio.create_task(client(house.ports[each % len(house.ports)], each, filling))
            for each in range(filling.number)
        ]
        stack.push_async_callback(end, clients)
        accounted, held = await settled(house)
        rss = house.memory("VmRSS")
        await house.tell(f"ready {replica}")
        if filling.is_read:
            await emptied(house)
        else:
            await asyncio.sleep(UNREAD_FOR)
            accounted, _ = await house.tell("accounted")
        return Row(filling.what, held, accounted / MIB, idle, rss, house.memory("VmHWM"))


async def settled(house: House) -> tuple[int, int]:
    """The most that was accounted, and how many are held, once neither has changed for a while."""
    last, most, quiet = (-1, -1), 0, 0.0
    while quiet < SETTLES_AFTER:
        now = await house.tell("accounted")
        quiet = quiet + 0.25 if now == last else 0.0
        last, most = now, max(most, now[0])
        await asyncio.sleep(0.25)
    return most, last[1]


async def end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def emptied(house: House) -> None:
    """All are answered, or enough has been seen of how slowly it goes."""
    with suppress(TimeoutError):
        async with asyncio.timeout(WAKE_WITHIN):
            while (await house.tell("accounted"))[0] > MIB:  # noqa: ASYNC110 - it can be asked, and tells nothing unasked
                await asyncio.sleep(0.25)


async def client(port: int, number: int, filling: Filling) -> None:
    """One of 256 addresses. A refusal is as good as an answer: the activator is full."""
    source = f"127.0.{1 + number % 16}.{1 + number // 16 % 16}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        writer.write(b"%b%bContent-Length: %d\r\n\r\n" % (HEAD, filling.headers, filling.body))
        body = memoryview(bytes(256 * KIB))
        for begin in range(0, filling.body, len(body)):
            writer.write(body[: min(len(body), filling.body - begin)])
            await writer.drain()
        if filling.is_read:
            await reader.read()
        else:
            await asyncio.Event().wait()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def serving(filling: Filling) -> AsyncIterator[int]:
    """A replica, in the clients' process; its port."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            left = filling.body
            while left:
                left -= len(await reader.read(min(left, 64 * KIB)))
                if filling.reads_slowly:
                    await asyncio.sleep(0.02)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % filling.answer)
            writer.write(bytes(filling.answer))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(one(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=4096)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await end(list(tasks))


@dataclass
class House:
    """`path/house.py` as a process."""

    process: asyncio.subprocess.Process
    ports: list[int]

    @classmethod
    @asynccontextmanager
    async def started(cls, max_bytes: int) -> AsyncIterator[House]:
        pipe = asyncio.subprocess.PIPE
        program = HERE / "path" / "house.py"
        process = await asyncio.create_subprocess_exec(sys.executable, program, str(max_bytes), stdin=pipe, stdout=pipe)
        try:
            assert process.stdout
            yield cls(process, [int(port) for port in (await process.stdout.readline()).split()])
        finally:
            process.kill()
            await process.wait()

    async def tell(self, line: str) -> tuple[int, int]:
        """Bytes that are accounted, and requests that are held."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(line.encode() + b"\n")
        taken, held = (await self.process.stdout.readline()).split()
        return int(taken), int(held)

    def memory(self, what: str) -> float:
        """In MiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) / KIB


if __name__ == "__main__":
    main()
