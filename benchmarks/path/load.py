"""Clients that measure: requests at a steady rate, streams that stay open, and held requests."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

BODY = b'{"model": "llama", "prompt": "Tell me of the sea.", "max_tokens": 40}'
KEY = "a-key-of-the-benchmark"
SENT = re.compile(rb'"sent": ([0-9.]+)')


@dataclass
class LoadClient:
    """A client of one port, with the connections that it keeps open, and what it measured."""

    port: int
    latencies: list[float] = field(default_factory=list)  # seconds from a request to the end of its answer
    delays: list[float] = field(default_factory=list)  # seconds from an event's being sent to its being here
    errors: int = 0
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def ask(self) -> None:
        try:
            reader, writer = self.idle.pop() if self.idle else await connect(self.port)
            began = time.monotonic()
            writer.write(request(BODY))
            await answer(reader)
            self.latencies.append(time.monotonic() - began)
            self.idle.append((reader, writer))
        except (OSError, ValueError, asyncio.IncompleteReadError):
            self.errors += 1

    async def listen(self, events: int) -> None:
        """Read one stream from its start to its end."""
        heard = 0
        try:
            reader, writer = await connect(self.port)
            writer.write(request(BODY, headers=b"X-Events: %d\r\n" % events))
            await reader.readuntil(b"\r\n\r\n")
            while size := int(await reader.readline(), 16):
                data = await reader.readexactly(size + 2)
                now = time.monotonic()
                sent = [float(each) for each in SENT.findall(data)]
                self.delays += [now - each for each in sent]
                heard += len(sent)
            writer.close()
        except (OSError, ValueError, asyncio.IncompleteReadError):
            pass
        self.errors += heard != events

    def close(self) -> None:
        for _, writer in self.idle:
            writer.close()


async def at_steady_rate(lines: list[LoadClient], *, rate: float, seconds: float) -> float:
    """Send `rate` requests a second by each client, in turn, however long each takes; return the seconds it took."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for due, line in _schedule(lines, rate, seconds):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(line.ask())
    return time.monotonic() - began


def _schedule(lines: list[LoadClient], rate: float, seconds: float) -> Iterator[tuple[float, LoadClient]]:
    began, number = time.monotonic(), int(rate * seconds)
    for each in range(number):
        for place, line in enumerate(lines):
            yield began + (each + place / len(lines)) / rate, line


async def held(port: int, number: int, body: bytes) -> int:
    """Send `number` requests, each from an address of its own, and return how many were answered."""

    async def one(source: str) -> bool:
        reader, writer = await connect(port, source)
        writer.write(request(body))
        try:
            return await answer(reader)
        except (OSError, ValueError, asyncio.IncompleteReadError):
            return False
        finally:
            writer.close()

    sources = (f"127.0.{1 + client // 250}.{1 + client % 250}" for client in range(number))
    return sum(await asyncio.gather(*map(one, sources)))


async def connect(port: int, source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))


def request(body: bytes, *, headers: bytes = b"") -> bytes:
    head = b"POST /v1/completions HTTP/1.1\r\nHost: llama\r\nContent-Type: application/json\r\n"
    if b"Authorization" not in headers:
        head += b"Authorization: Bearer %b\r\n" % KEY.encode()
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (head, headers, len(body), body)


async def answer(reader: asyncio.StreamReader) -> bool:
    """Read a response; ValueError if its status is not 200."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0]))
    if not head.startswith(b"http/1.1 200"):
        raise ValueError(head.decode())
    return True
