"""One namespace with the demo model on llama.cpp and on vLLM, and one model that can't start, all under load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

import aiohttp

from support.builders.llmdeployments import GEMMA_CLAIM, llmdeployment, merged
from support.builders.objects import Object
from support.cluster import FromTheNode, Kube
from support.load.completions import RefusedError, complete

LLAMACPP, VLLM, BROKEN = "gemma", "gemma-vllm", "broken"
ENGINES = (LLAMACPP, VLLM)
CHECKPOINT_CLAIM = "gemma-checkpoint"
MISSING_CLAIM = "nowhere"

OBSERVED: Object = {
    "slo": {"ttftP95": "2s", "tpotP95": "500ms", "e2eP99": "20s", "availability": 99.9},
    "budget": {"limit": 100, "period": "Day"},
}
AT_ONCE = 6
"""More than fit into a batch of the engines below, so that some wait."""

REPEATED = "One two three four five six seven eight. " * 12
"""A prompt that the prefix cache keeps, and from which ngram can draft."""


def models() -> list[Object]:
    """`broken` has a claim without a model."""
    small: Object = {"contextLength": 1024, "maxConcurrency": 2}
    asleep: Object = {"scaling": {"minReplicas": 0, "maxReplicas": 1}, **OBSERVED}
    memory = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}
    more_memory = {"requests": {"cpu": "500m", "memory": "4Gi"}, "limits": {"memory": "6Gi"}}
    by_llamacpp: Object = {
        "model": {"uri": f"pvc://{GEMMA_CLAIM}/"},
        "engine": {"name": "llamacpp", **small},
        "pod": {"resources": memory},
    }
    by_vllm: Object = {
        "model": {"uri": f"pvc://{CHECKPOINT_CLAIM}/"},
        "engine": {"name": "vllm", **small, "speculative": {"method": "ngram", "tokens": 2}},
        "accelerator": {"profiles": ["cpu"]},
        "pod": {"resources": more_memory},
    }
    empty: Object = {"model": {"uri": f"pvc://{MISSING_CLAIM}/"}, "scaling": {"hold": {"timeout": "20s"}}}
    return [
        llmdeployment(LLAMACPP, merged(by_llamacpp, asleep)),
        llmdeployment(VLLM, merged(by_vllm, asleep)),
        llmdeployment(BROKEN, merged(merged(by_llamacpp, asleep), empty)),
    ]


async def wake(kube: Kube, entered: Callable[[], AbstractContextManager[object]], *, within: float) -> None:
    """Sends each model at zero one request, and waits for the answers: two completions, and one refusal."""
    access = FromTheNode(kube, entered)
    async with access.session() as session, asyncio.timeout(within):
        answers = [_answer(session, await access.url(name), name) for name in (*ENGINES, BROKEN)]
        first, second, refused = await asyncio.gather(*answers)
    assert first == second == "answered"
    assert refused.startswith("50"), refused


async def load(kube: Kube, entered: Callable[[], AbstractContextManager[object]], *, seconds: float) -> int:
    """Sends requests to both engines, several at a time; returns how many were answered."""
    access = FromTheNode(kube, entered)
    answered = 0

    async def client(name: str, url: str, number: int) -> None:
        nonlocal answered
        while asyncio.get_running_loop().time() < end:
            answer = await _answer(session, url, name, prompt=f"{REPEATED}{number % 2}")
            answered += answer == "answered"

    async with access.session() as session:
        end = asyncio.get_running_loop().time() + seconds
        urls = {name: await access.url(name) for name in ENGINES}
        await asyncio.gather(*(client(name, url, each) for name, url in urls.items() for each in range(AT_ONCE)))
    return answered


async def _answer(session: aiohttp.ClientSession, url: str, model: str, *, prompt: str = "Kubernetes is") -> str:
    try:
        await complete(session, url, prompt, model=model, max_tokens=24)
    except RefusedError as refusal:
        return str(refusal)
    return "answered"
