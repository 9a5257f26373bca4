"""Sends one GET request to a pod and takes nothing from it but the response: no redirects, cookies or encodings.

The owner of the pod decides what it responds; so its head is as bounded as any, and its body is never stored here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from slipway.activator.http1.channel import Channel, ReplicaChannel
from slipway.activator.http1.heads import ResponseHead, written
from slipway.activator.http1.parsing import ResponseParser

OK = 200
CONNECT_WITHIN = 2.0  # seconds


async def get(host: str, port: int, path: str, *, take: Callable[[bytes], bool] = lambda piece: False) -> int | None:
    """The status; None without one, or if the response breaks off. `take` gets the pieces of the body of a 200, until
    it returns False."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            _, channel = await loop.create_connection(lambda: Channel(ResponseParser()), host, port)
    except OSError:  # TimeoutError is one, too
        return None
    try:
        return await _response(channel, f"[{host}]" if ":" in host else host, path, take)
    except OSError:
        return None
    finally:
        channel.abort()


async def _response(channel: ReplicaChannel, host: str, path: str, take: Callable[[bytes], bool]) -> int | None:
    channel.parser.expect(b"GET")
    headers = [(b"host", host.encode()), (b"connection", b"close")]
    channel.write(written(b"GET %b HTTP/1.1" % path.encode(), headers))
    head = await channel.event()
    if not isinstance(head, ResponseHead):
        return None
    while head.status == OK and isinstance(piece := await channel.event(), bytes):
        if not take(piece):
            break
    return head.status
