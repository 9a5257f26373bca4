"""llama.cpp with models that generate nothing: embeddings and ranks, and what a request of another task gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.builders.encoder_files import CONTEXT, HIDDEN, write_embedding_gguf, write_reranking_gguf
from support.builders.model_files import write_gguf
from support.programs.engine_pod import EnginePod
from support.programs.llamacpp_pod import LlamacppPod


async def answer(pod: EnginePod, path: str, **body: Any) -> tuple[int, Any]:
    async with pod.http.post(pod.url + path, json={"model": pod.model, **body}) as response:
        return response.status, await response.json()


async def refusal(pod: EnginePod, path: str, **body: Any) -> tuple[int, str, str]:
    status, said = await answer(pod, path, **body)
    return status, said["error"]["code"], said["error"]["message"]


async def test_a_model_that_makes_embeddings_serves_them_warmed_up_counted_and_bounded(
    pod: LlamacppPod, tmp_path: Path
) -> None:
    await pod.serve(write_embedding_gguf(tmp_path / "embed.gguf"), f"--context-length={CONTEXT}")
    await pod.until_ready()
    assert not [line for line in pod.log_lines if "without a warm-up" in line]
    assert (await pod.info())["model"]["task"] == "Embed"
    status, made = await answer(pod, "/v1/embeddings", input=["the king", "a river"])
    assert (status, [len(each["embedding"]) for each in made["data"]]) == (200, [HIDDEN, HIDDEN])
    tokens = made["usage"]["prompt_tokens"]
    counted = f'slipway_tokens_total{{key="anonymous",kind="prompt",model_name="gemma"}} {tokens}.0'
    await pod.until_response_has("/metrics", counted)
    assert (await answer(pod, "/v1/embeddings", input="a " * (CONTEXT - 2)))[0] == 200
    assert (await refusal(pod, "/v1/embeddings", input="a " * CONTEXT))[:2] == (400, "context_length_exceeded")


async def test_what_it_does_not_do_is_refused_with_what_it_does(pod: LlamacppPod, tmp_path: Path) -> None:
    await pod.serve(write_embedding_gguf(tmp_path / "embed.gguf"))
    await pod.until_ready()
    chat = {"messages": [{"role": "user", "content": "Hi"}]}
    assert await refusal(pod, "/v1/chat/completions", **chat) == (
        404,
        "wrong_task",
        "This model makes embeddings, so it doesn't serve /v1/chat/completions: send POST /v1/embeddings.",
    )
    assert (await refusal(pod, "/v1/rerank", query="a", documents=["b"]))[1] == "wrong_task"
    assert (await answer(pod, "/tokenize", content="a king"))[0] == 200


async def test_a_model_that_ranks_serves_ranks_alone(pod: LlamacppPod, tmp_path: Path) -> None:
    await pod.serve(write_reranking_gguf(tmp_path / "rank.gguf"))
    await pod.until_ready()
    assert not [line for line in pod.log_lines if "without a warm-up" in line]
    for path in ("/v1/rerank", "/rerank"):
        status, made = await answer(pod, path, query="the king", documents=["a river", "the queen"])
        assert (status, {each["index"] for each in made["results"]}) == (200, {0, 1})
    # llama.cpp itself would answer this with what was in its memory.
    assert (await refusal(pod, "/v1/embeddings", input="the king"))[:2] == (404, "wrong_task")


async def test_a_file_for_text_is_not_served_for_embeddings(pod: LlamacppPod, tmp_path: Path) -> None:
    await pod.serve(write_gguf(tmp_path / "llama.gguf"), "--task=Embed")
    await pod.until_ended()
    assert "for the task Generate by its header, and not for Embed." in "".join(pod.log_lines)


@pytest.mark.parametrize("task", ["Classify", "Transcribe"])
async def test_a_task_that_llamacpp_cannot_do_ends_the_start(pod: LlamacppPod, tmp_path: Path, task: str) -> None:
    await pod.serve(write_embedding_gguf(tmp_path / "embed.gguf"), f"--task={task}")
    await pod.until_ended()
    assert f"llama.cpp can't serve a model whose task is {task}." in "".join(pod.log_lines)
