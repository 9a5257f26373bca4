"""A model's pod as one process on this machine: process 1 with a real llama.cpp."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from support.supervised_pod import SupervisedPod

COMPLETIONS = "/v1/completions"
MODEL = "gemma"


class LlamacppPod(SupervisedPod):
    async def serve(self, model: Path, *options: str, flags: tuple[str, ...] = ()) -> None:
        """From the command line that a container has, but quicker to stop."""
        await self.run(
            *("-m", "slipway_runtime.cli", "serve", "llamacpp", f"--model={model}", f"--served-name={MODEL}"),
            *("--host=127.0.0.1", f"--port={self.engine_port}", f"--management-port={self.port}"),
            *("--endpoints-delay=0", *options),
            engine_flags=flags,
        )

    async def completion(self, **body: Any) -> aiohttp.ClientResponse:
        """Sent, and answered at least in part."""
        url = f"http://127.0.0.1:{self.engine_port}{COMPLETIONS}"
        headers = body.pop("headers", {})
        return await self.http.post(url, json={"model": MODEL, "temperature": 0, **body}, headers=headers)

    @asynccontextmanager
    async def long_stream(self, tokens: int = 4000) -> AsyncIterator[aiohttp.ClientResponse]:
        """A stream whose first token has come, and which goes on for a while."""
        body = {"prompt": "Once upon a time", "max_tokens": tokens, "stream": True, "ignore_eos": True}
        async with await self.completion(**body) as answer:
            assert answer.status == 200
            await answer.content.readuntil(b"\n\n")
            yield answer
