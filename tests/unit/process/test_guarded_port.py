"""How a connection through the guarded port ends. tests/attacks/test_own_ports.py tests which clients get one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from slipway.process import guarded_port
from slipway.process.guarded_port import GuardedPort

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def every_address(_: str) -> bool:
    return True


@asynccontextmanager
async def opened(behind: Callable[[Ends], Awaitable[None]]) -> AsyncIterator[Ends]:
    """Opens a connection of a known client to the program behind a guarded port."""
    guarded = GuardedPort(every_address)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await behind((reader, writer))
        writer.close()

    server = await asyncio.start_unix_server(answer, f"\0{guarded.behind}")
    reader, writer = await asyncio.open_connection("127.0.0.1", await guarded.open("127.0.0.1", 0))
    try:
        writer.write(b"?")
        yield reader, writer
    finally:
        writer.transport.abort()
        await guarded.close()
        server.close()


async def test_the_end_of_a_known_client_s_input_is_passed_on_to_the_program() -> None:
    async def read_all_first(ends: Ends) -> None:
        ends[1].write(await ends[0].read())

    async with opened(read_all_first) as (reader, writer), asyncio.timeout(5):
        writer.write_eof()
        assert await reader.read() == b"?"


class UnreadWriter(asyncio.StreamWriter):
    """Writes to a client that reads nothing, so that the connection never closes."""

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
    client, behind = asyncio.StreamReader(), asyncio.StreamReader()
    behind.feed_data(b"!")
    behind.feed_eof()
    relay = asyncio.create_task(guarded_port._converse(b"?", (client, UnreadWriter()), (behind, UnreadWriter()), None))
    await asyncio.wait([relay], timeout=5)
    assert relay.done()
    assert isinstance(relay.exception(), TimeoutError)


async def test_a_connection_has_a_keepalive_timer_in_case_its_node_is_gone() -> None:
    async def respond_early(ends: Ends) -> None:
        ends[1].write(b"!")
        await ends[0].read()

    async with opened(respond_early) as (reader, writer), asyncio.timeout(5):
        await reader.read(1)
        ours, theirs = writer.get_extra_info("sockname")[1], writer.get_extra_info("peername")[1]
        assert has_timer(local=theirs, remote=ours)


def has_timer(*, local: int, remote: int) -> bool:
    """Returns whether the kernel has a TCP keepalive timer for the socket."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, here, there, _, _, timer, *_ = line.split()
        if int(here.split(":")[1], 16) == local and int(there.split(":")[1], 16) == remote:
            return timer.startswith("02:")
    raise AssertionError("there is no such connection")
