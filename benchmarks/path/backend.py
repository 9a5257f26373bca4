"""An engine that costs next to nothing: it answers at once, or streams one event after the other.

Run as a program, it prints its port. Each event of a stream says when it was sent, by the clock of the machine.
"""

from __future__ import annotations

import asyncio
import time

import httptools
import uvloop

ANSWER = b'{"choices": [{"text": "' + b"word " * 40 + b'", "finish_reason": "stop"}]}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"sent": %.6f, "choices": [{"delta": {"content": "word"}, "finish_reason": null}]}\n\n'
EVERY = 1.0  # seconds between two events of a stream


class Backend(asyncio.Protocol):
    """How many events a stream has is in the header `X-Events`."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._events = 0
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # as it is in all but name

    def connection_lost(self, error: Exception | None) -> None:
        if self._task:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._events = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-events":
            self._events = int(value)

    def on_message_complete(self) -> None:
        if self._events:
            self._task = asyncio.create_task(self._stream(self._events))
        else:
            self._transport.write(HEAD % len(ANSWER) + ANSWER)

    async def _stream(self, events: int) -> None:
        self._transport.write(STREAM_HEAD)
        for _ in range(events):
            event = EVENT % time.monotonic()
            self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
            await asyncio.sleep(EVERY)
        self._transport.write(b"0\r\n\r\n")


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
