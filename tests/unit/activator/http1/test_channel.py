"""How long a connection is waited for, in virtual time: each wait ends when it should, and has no timer of its own."""

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from slipway.activator.http1.channel import Channel, ClientChannel, ConnectionGoneError
from slipway.activator.http1.parsing import RequestParser
from support.fakes import virtual_time

REQUEST = b"GET / HTTP/1.1\r\nHost: llama\r\n\r\n"


class Wire(asyncio.Transport):
    """Accepts every write, and sends nothing on its own."""

    def __init__(self, own_socket: socket.socket) -> None:
        super().__init__({"socket": own_socket, "peername": ("192.0.2.1", 40000)})

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False


@contextmanager
def opened() -> Iterator[ClientChannel]:
    with socket.socket() as own_socket:
        channel = Channel(RequestParser())
        channel.connection_made(Wire(own_socket))
        yield channel


def receive(channel: ClientChannel, data: bytes) -> None:
    channel.get_buffer(len(data))[: len(data)] = data
    channel.buffer_updated(len(data))


@asynccontextmanager
async def after(seconds: float, action: Callable[[], object]) -> AsyncIterator[None]:
    handle = asyncio.get_running_loop().call_later(seconds, action)
    yield
    handle.cancel()


async def _ends_after(channel: ClientChannel, *, within: float) -> float:
    started = virtual_time.now()
    with pytest.raises(TimeoutError):
        await channel.event(within=within)
    return virtual_time.now() - started


@pytest.mark.parametrize("before", [math.inf, 60.0, 0.5])
def test_a_wait_ends_when_it_should_whatever_the_previous_wait_was(before: float) -> None:
    async def test() -> None:
        with opened() as channel:
            async with after(0.1, lambda: receive(channel, REQUEST)):
                await channel.event(within=before)
            await channel.event()  # its end
            for within in (3.0, 10.0, 0.2):
                assert await _ends_after(channel, within=within) == pytest.approx(within, abs=0.01)

    virtual_time.run(test())


def test_the_time_for_a_head_is_for_all_of_it_however_slowly_it_arrives() -> None:
    async def test() -> None:
        with opened() as channel:
            loop = asyncio.get_running_loop()
            for second, byte in enumerate(REQUEST[:10]):
                loop.call_later(second, receive, channel, bytes([byte]))
            assert await _ends_after(channel, within=5.0) == pytest.approx(5.0, abs=0.01)

    virtual_time.run(test())


def test_data_that_has_already_arrived_is_not_waited_for() -> None:
    async def test() -> None:
        with opened() as channel:
            receive(channel, REQUEST)
            await channel.event(within=0.0)

    virtual_time.run(test())


def test_a_connection_has_one_timer_for_all_its_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[float] = []

    async def test() -> None:
        loop: Any = asyncio.get_running_loop()
        call_at = loop.call_at

        def recording_call_at(when: float, *rest: Any) -> asyncio.TimerHandle:
            timers.append(when)
            handle: asyncio.TimerHandle = call_at(when, *rest)
            return handle

        monkeypatch.setattr(loop, "call_at", recording_call_at)
        with opened() as channel:
            for _ in range(100):
                waiting = asyncio.create_task(channel.event(within=30.0))
                await asyncio.sleep(0)
                receive(channel, REQUEST)
                await waiting
                await channel.event()
            assert len(timers) == 1

    virtual_time.run(test())


def test_a_closed_connection_leaves_no_timer() -> None:
    async def test() -> None:
        with opened() as channel:
            waiting = asyncio.create_task(channel.event(within=30.0))
            await asyncio.sleep(0)
            channel.connection_lost(None)
            with pytest.raises(ConnectionGoneError):
                await waiting
            with pytest.raises(AssertionError, match="no timer is left"):  # the message of the loop of virtual time
                await asyncio.get_running_loop().create_future()

    with pytest.raises(AssertionError, match="no timer is left"):
        virtual_time.run(test())
