"""A model's pod as one process on this machine: process 1 with a real engine, and requests as clients send them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from support.programs.supervised_pod import SupervisedPod

COMPLETIONS = "/v1/completions"


class EnginePod(SupervisedPod):
    model = "gemma"  # the model's name in requests
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed in place

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.engine_port}"

    async def completion(self, **body: Any) -> aiohttp.ClientResponse:
        """Sends a request; returns when at least a part of the response has arrived."""
        headers = {**self.headers, **body.pop("headers", {})}
        sent = {"model": self.model, "temperature": 0, **body}
        return await self.http.post(self.url + COMPLETIONS, json=sent, headers=headers)

    @asynccontextmanager
    async def long_stream(self, tokens: int = 4000) -> AsyncIterator[aiohttp.ClientResponse]:
        """Starts a long stream; its first token has arrived."""
        body = {"prompt": "Once upon a time", "max_tokens": tokens, "stream": True, "ignore_eos": True}
        async with await self.completion(**body) as answer:
            assert answer.status == 200
            await answer.content.readuntil(b"\n\n")
            yield answer
