"""Sends requests to a model by the OpenAI API, and reads the streamed response."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp


class RefusedError(Exception):
    """The response was not a completion."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status


@dataclass(frozen=True)
class Completion:
    """A complete response, and when its parts arrived, in seconds since the request."""

    text: str
    arrivals: tuple[float, ...]

    @property
    def time_to_first_token(self) -> float:
        return self.arrivals[0]

    @property
    def tokens_per_second(self) -> float:
        """The rate of all tokens after the first."""
        return (len(self.arrivals) - 1) / (self.arrivals[-1] - self.arrivals[0])


async def complete(
    session: aiohttp.ClientSession, url: str, prompt: str, *, model: str = "", max_tokens: int = 32, **more: Any
) -> Completion:
    """Completes a text, deterministically."""
    body = {"model": model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, **more}
    return await _streamed(session, f"{url}/v1/completions", body)


async def chat(
    session: aiohttp.ClientSession, url: str, message: str, *, model: str = "", max_tokens: int = 32, **more: Any
) -> Completion:
    """Answers a chat message, deterministically."""
    messages = [{"role": "user", "content": message}]
    body = {"model": model, "messages": messages, "max_tokens": max_tokens, "temperature": 0, **more}
    return await _streamed(session, f"{url}/v1/chat/completions", body)


async def _streamed(session: aiohttp.ClientSession, url: str, body: Mapping[str, Any]) -> Completion:
    started = time.monotonic()
    pieces: list[str] = []
    arrivals: list[float] = []
    async with session.post(url, json={**body, "stream": True}) as response:
        if response.status != 200:
            raise RefusedError(response.status, await response.text())
        async for data in events(response.content):
            if text := text_of(data):
                pieces.append(text)
                arrivals.append(time.monotonic() - started)
    if not pieces:
        raise RefusedError(response.status, "a stream without any text")
    return Completion("".join(pieces), tuple(arrivals))


async def events(lines: AsyncIterable[bytes]) -> AsyncIterator[dict[str, Any]]:
    """Yields the data of server-sent events, until the end mark of OpenAI's API."""
    async for line in lines:
        data = line.decode().removeprefix("data:").strip() if line.startswith(b"data:") else ""
        if data == "[DONE]":
            return
        if data:
            yield json.loads(data)


def text_of(data: Mapping[str, Any]) -> str:
    """Returns the text that one event adds; some events only mark the start or the end."""
    if "error" in data:
        raise RefusedError(200, json.dumps(data["error"]))
    texts = (choice.get("text") or choice.get("delta", {}).get("content") for choice in data.get("choices", []))
    return next(texts, None) or ""
