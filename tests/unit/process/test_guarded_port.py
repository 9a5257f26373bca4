"""How a connection through the entrance ends. Who may have one, is in tests/attacks/test_own_ports.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from slipway.process import guarded_port
from slipway.process.guarded_port import GuardedPort

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def everybody(_: str) -> bool:
    return True


@asynccontextmanager
async def opened(behind: Callable[[Ends], Awaitable[None]]) -> AsyncIterator[Ends]:
    """To what is behind an entrance, as one who is known there."""
    way = GuardedPort(everybody)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await behind((reader, writer))
        writer.close()

    server = await asyncio.start_unix_server(answer, f"\0{way.behind}")
    reader, writer = await asyncio.open_connection("127.0.0.1", await way.open("127.0.0.1", 0))
    try:
        writer.write(b"?")
        yield reader, writer
    finally:
        writer.transport.abort()
        await way.close()
        server.close()


async def test_the_end_of_a_known_client_s_input_is_passed_on_to_the_program() -> None:
    async def hear_all_first(ends: Ends) -> None:
        ends[1].write(await ends[0].read())

    async with opened(hear_all_first) as (reader, writer), asyncio.timeout(5):
        writer.write_eof()
        assert await reader.read() == b"?"


class Deaf(asyncio.StreamWriter):
    """To somebody who takes nothing, so that it never has closed."""

    def __init__(self) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    async def drain(self) -> None:
        pass

    def close(self) -> None:
        pass

    async def wait_closed(self) -> None:
        await asyncio.Event().wait()

    def __del__(self, *_: object) -> None:
        pass


async def test_a_client_that_does_not_read_the_end_of_a_response_is_disconnected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guarded_port, "PATIENCE", 0.1)
    visitor, behind = asyncio.StreamReader(), asyncio.StreamReader()
    behind.feed_data(b"!")
    behind.feed_eof()
    conversing = asyncio.create_task(guarded_port._converse(b"?", (visitor, Deaf()), (behind, Deaf()), None))
    await asyncio.wait([conversing], timeout=5)
    assert conversing.done()
    assert isinstance(conversing.exception(), TimeoutError)


async def test_a_connection_has_a_keepalive_timer_in_case_its_node_is_gone() -> None:
    async def say_little(ends: Ends) -> None:
        ends[1].write(b"!")
        await ends[0].read()

    async with opened(say_little) as (reader, writer), asyncio.timeout(5):
        await reader.read(1)
        ours, theirs = writer.get_extra_info("sockname")[1], writer.get_extra_info("peername")[1]
        assert has_timer(local=theirs, remote=ours)


def has_timer(*, local: int, remote: int) -> bool:
    """Of TCP's keepalive: what the kernel says of that socket."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, here, there, _, _, timer, *_ = line.split()
        if int(here.split(":")[1], 16) == local and int(there.split(":")[1], 16) == remote:
            return timer.startswith("02:")
    raise AssertionError("there is no such connection")
