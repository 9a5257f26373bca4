"""The network between the cluster and the object store: it has a limited rate, and counts the bytes to the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

PIECE = 1 << 16


@dataclass
class Link:
    """All connections share the rate."""

    port: int  # of the server, on this machine's loopback
    rate: float  # bytes a second
    received: int = 0
    """Bytes that the cluster has received."""
    _free_at: float = field(default_factory=time.monotonic)

    @asynccontextmanager
    async def listening(self, listener: socket.socket) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, sock=listener)
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(
            self._copy(reader, there_writer, counted=False), self._copy(there_reader, writer, counted=True)
        )

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(PIECE):
                if counted:
                    await self._pass(len(data))
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _pass(self, size: int) -> None:
        self.received += size
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + size / self.rate
        if (pause := self._free_at - now) > 0.01:  # shorter ones would take longer than they should
            await asyncio.sleep(pause)
