"""One request takes no more of llama.cpp than it is counted for: slots, memory and tokens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.builders.model_files import write_gguf
from support.programs.llamacpp_pod import LlamacppPod

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
SLOTS = 2
HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
async def tiny(pod: LlamacppPod, tmp_path: Path) -> LlamacppPod:
    model = write_gguf(tmp_path / "tiny.gguf")
    await pod.serve(model, "--context-length=512", f"--parallel={SLOTS}", "--tokens-per-minute=1000000")
    await pod.until_ready()
    return pod


async def response_to(pod: LlamacppPod, path: str, **body: Any) -> tuple[int, Any]:
    async with pod.http.post(f"http://127.0.0.1:{pod.engine_port}{path}", json=body) as answer:
        return answer.status, await (answer.json() if "json" in answer.content_type else answer.read())


async def tokens(pod: LlamacppPod, kind: str) -> float:
    async with pod.http.get(f"http://127.0.0.1:{pod.port}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    samples = (line for line in lines if line.startswith("slipway_tokens_total") and f'kind="{kind}"' in line)
    return sum(float(line.split()[-1]) for line in samples)


async def test_a_request_has_no_more_prompts_and_completions_than_there_are_slots(tiny: LlamacppPod) -> None:
    for name, path, body in (
        ("prompt", COMPLETIONS, {"prompt": ["Hi"] * 1500}),
        ("prompt", COMPLETIONS, {"prompt": ["Hi"] * 2, "n": 2}),
        ("n", COMPLETIONS, {"prompt": "Hi", "n": 3}),
        ("n", CHAT, {"messages": HI, "n_cmpl": 3}),
    ):
        status, response = await response_to(tiny, path, **body)
        assert (status, response["error"]["code"], response["error"]["param"]) == (400, "invalid_request", name)
        assert "send more requests" in response["error"]["message"]


async def test_requests_that_need_all_slots_alternate_with_others(tiny: LlamacppPod) -> None:
    """None waits for slots held by another that waits, too."""
    many = [response_to(tiny, COMPLETIONS, prompt=["Hi"] * 2, max_tokens=50, ignore_eos=True) for _ in range(6)]
    few = [response_to(tiny, COMPLETIONS, prompt="Hi", max_tokens=3) for _ in range(6)]
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(one for pair in zip(many, few, strict=True) for one in pair))
    assert [status for status, _ in answers] == [200] * 12


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (COMPLETIONS, {"prompt": "Hi", "n": 2}),
        (COMPLETIONS, {"prompt": ["Hi"] * 2}),
        (CHAT, {"messages": HI, "n": 2}),
    ],
    ids=["answers", "prompts", "a chat's answers"],
)
async def test_each_completion_of_a_request_is_counted(
    tiny: LlamacppPod, path: str, body: dict[str, Any], stream: bool
) -> None:
    before = await tokens(tiny, "completion")
    assert (await response_to(tiny, path, **body, max_tokens=100, ignore_eos=True, stream=stream))[0] == 200
    await response_to(tiny, path, model="other")  # it is accounted for by then
    found = await tokens(tiny, "completion") - before
    # The second completion is counted by its text: a token of this model is a byte, which may be encoded as three.
    assert found == 200 if stream else found >= 120


async def test_a_request_for_the_probabilities_of_all_tokens_is_refused(tiny: LlamacppPod) -> None:
    for path, body in (
        (COMPLETIONS, {"prompt": "Hi", "n_probs": 140_000}),
        (COMPLETIONS, {"prompt": "Hi", "logprobs": 140_000}),
        (CHAT, {"messages": HI, "logprobs": True, "top_logprobs": 140_000}),
    ):
        status, response = await response_to(tiny, path, **body)
        assert (status, response["error"]["code"]) == (400, "invalid_request")
    assert (await response_to(tiny, CHAT, messages=HI, max_tokens=2, logprobs=True, top_logprobs=20))[0] == 200
