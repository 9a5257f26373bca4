"""URLs in requests: llama.cpp fetches nothing from them, nor from files of the pod."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.programs.llamacpp_pod import LlamacppPod


@asynccontextmanager
async def elsewhere() -> AsyncIterator[tuple[str, list[str]]]:
    """A web server that records which paths were requested; its address."""
    reached: list[str] = []

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(str(writer.get_extra_info("peername")))
        writer.close()

    async with await asyncio.start_server(note, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x.png", reached


def requests(url: str) -> list[tuple[str, dict[str, Any]]]:
    def chat(part: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return "/v1/chat/completions", {"messages": [{"role": "user", "content": [part]}]}

    source = {"type": "url", "url": url}
    return [
        *(chat({"type": f"{kind}_url", f"{kind}_url": {"url": url}}) for kind in ("image", "video", "audio")),
        chat({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}),
        ("/v1/messages", {"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}),
        (
            "/v1/responses",
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]},
        ),
        ("/v1/completions", {"prompt": {"prompt_string": "<__media__>", "multimodal_data": [url]}}),
        ("/v1/embeddings", {"input": {"prompt_string": "<__media__>", "multimodal_data": [url]}}),
    ]


async def test_no_url_in_a_request_is_fetched(pod: LlamacppPod, gemma: Path) -> None:
    await pod.serve(gemma)
    await pod.until_ready()
    async with elsewhere() as (url, reached):
        for path, body in requests(url):
            async with pod.http.post(pod.url + path, json={"model": pod.model, "max_tokens": 1, **body}) as answer:
                assert answer.status >= 400, (path, await answer.text())
    assert reached == []
