"""Reads the JSON documents that kubectl writes one after another, each as soon as it is whole."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any


async def documents(lines: AsyncIterable[bytes]) -> AsyncIterator[dict[str, Any]]:
    """kubectl indents what is inside of a document, so a lone brace ends it."""
    pending: list[bytes] = []
    async for line in lines:
        pending.append(line)
        if line.rstrip() == b"}" and not line.startswith(b" "):
            yield json.loads(b"".join(pending))
            pending.clear()
