"""vLLM with models that generate nothing: the same answers as llama.cpp's, and what it serves besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.builders.encoder_files import (
    write_embedding_checkpoint,
    write_embedding_gguf,
    write_reranking_checkpoint,
)
from support.programs.engine_pod import EnginePod
from support.programs.llamacpp_pod import LlamacppPod
from support.programs.vllm_pod import VllmPod

pytestmark = pytest.mark.timeout(1800)
TEXTS = ["the king", "a river bank", "queen of the man"]
PAIRS = {"query": "the king", "documents": ["a river", "the queen"]}


async def answer(pod: EnginePod, path: str, **body: Any) -> tuple[int, Any]:
    async with pod.http.post(pod.url + path, json={"model": pod.model, **body}) as response:
        return response.status, await response.json()


async def vectors_of_llamacpp(folder: Path) -> list[list[float]]:
    async with aiohttp.ClientSession() as http:
        pod = LlamacppPod(folder, http)
        try:
            await pod.serve(write_embedding_gguf(folder / "embed.gguf"))
            await pod.until_ready()
            return vectors(await answer(pod, "/v1/embeddings", input=TEXTS))
        finally:
            await pod.kill()


def vectors(made: tuple[int, Any]) -> list[list[float]]:
    status, said = made
    assert status == 200
    return [each["embedding"] for each in said["data"]]


async def test_it_makes_the_embeddings_that_llamacpp_makes_and_compares_them(pod: VllmPod, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    wanted = await vectors_of_llamacpp(tmp_path / "other")
    await pod.serve(write_embedding_checkpoint(tmp_path / "model"), flags=("--enable-prefix-caching",))
    await pod.until_ready()
    assert not [line for line in pod.log_lines if "without a warm-up" in line]
    found = vectors(await answer(pod, "/v1/embeddings", input=TEXTS))
    assert [len(each) for each in found] == [len(each) for each in wanted]
    assert [*map(sum, zip(*found, strict=True))] == pytest.approx([*map(sum, zip(*wanted, strict=True))], abs=0.01)
    for path in ("/v1/rerank", "/v2/rerank", "/rerank"):
        assert len((await answer(pod, path, **PAIRS))[1]["results"]) == 2
    status, said = await answer(pod, "/v1/completions", prompt="Hi")
    assert (status, said["error"]["code"]) == (404, "wrong_task")


async def test_it_ranks(pod: VllmPod, tmp_path: Path) -> None:
    await pod.serve(write_reranking_checkpoint(tmp_path / "model"))
    await pod.until_ready()
    assert not [line for line in pod.log_lines if "without a warm-up" in line]
    status, said = await answer(pod, "/v1/rerank", **PAIRS)
    assert (status, {each["index"] for each in said["results"]}) == (200, {0, 1})
    status, said = await answer(pod, "/score", text_1="the king", text_2=["a river", "the queen"])
    assert (status, len(said["data"])) == (200, 2)
    assert (await answer(pod, "/v1/embeddings", input="the king"))[0] == 404
