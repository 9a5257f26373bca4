"""Sends one request to a model's pod and takes a bounded response, in time, or none.

The owner of the pod decides what it responds, and this program may write to all namespaces. So all bytes together are
bounded before anything is parsed, and of HTTP only what the runtime sends is understood: a status line, a head, and a
body up to the end of the connection. No redirects, no encodings, no further messages.
"""

from __future__ import annotations

import asyncio
import re

from slipway.contract.pod import INFO_PATH, RUNTIME_PORT

WITHIN = 5.0  # seconds for the entire response
LARGEST = 256 * 1024  # bytes of it, the head included
OK = re.compile(rb"HTTP/1\.[01] 200 ")


async def get_info(address: str, *, port: int = RUNTIME_PORT, within: float = WITHIN) -> bytes | None:
    return await get_page(address, port=port, path=INFO_PATH, within=within)


async def get_page(address: str, *, port: int, path: str, within: float = WITHIN) -> bytes | None:
    """The body; None: there was no such response."""
    try:
        async with asyncio.timeout(within):
            return body_of(await _response(address, port, path))
    except OSError:  # TimeoutError is one, too
        return None


def body_of(response: bytes) -> bytes | None:
    head, end_of_head, body = response.partition(b"\r\n\r\n")
    return body if end_of_head and OK.match(head) and len(response) <= LARGEST else None


async def _response(address: str, port: int, path: str) -> bytes:
    """As much as is taken of it."""
    reader, writer = await asyncio.open_connection(address, port, limit=LARGEST)
    try:
        host = f"[{address}]" if ":" in address else address
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())  # 1.0: the end is the connection's
        taken = bytearray()
        while len(taken) <= LARGEST and (piece := await reader.read(LARGEST)):
            taken += piece
        return bytes(taken)
    finally:
        writer.transport.abort()
