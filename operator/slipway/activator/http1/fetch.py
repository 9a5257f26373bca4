"""Asks a pod one question and takes nothing from it but the answer: no redirects, no cookies, no coding.

Whoever runs the pod decides what it says; so its heads are as bounded as any, and its body goes on as it comes.
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
    """The status; None without one, or if the answer breaks off. `take` gets the body of a 200 until it says no."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            _, channel = await loop.create_connection(lambda: Channel(ResponseParser()), host, port)
    except OSError:  # or in no time, which is one, too
        return None
    try:
        return await _answer(channel, f"[{host}]" if ":" in host else host, path, take)
    except OSError:
        return None
    finally:
        channel.abort()


async def _answer(channel: ReplicaChannel, host: str, path: str, take: Callable[[bytes], bool]) -> int | None:
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
