"""Parses JSON of any size without keeping the event loop from everything else meanwhile."""

from __future__ import annotations

import asyncio
import json
from typing import Any

LARGE = 256 << 10  # bytes; smaller ones are parsed in 3 ms, which is less than a thread would take from the loop


async def loads(data: bytes) -> Any:
    """What `json.loads` returns. ValueError if it isn't JSON."""
    if len(data) < LARGE:
        return json.loads(data)
    return await asyncio.to_thread(json.loads, data, object_hook=unchanged)


def unchanged(value: dict[str, Any]) -> dict[str, Any]:
    """A hook that lets other threads run, each time that it is called: json.loads is written in C, so that without one
    it keeps the interpreter until it has parsed everything, in whichever thread it runs."""
    return value
