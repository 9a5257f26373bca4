"""KServe serves a real model with llama.cpp, without Slipway's operator."""

import re
from collections.abc import AsyncIterator

import pytest
from support.builders import objects
from support.cluster import Kube, ServiceAccess
from support.cluster.services import reachable
from support.load import concurrent
from support.load.completions import Completion, complete

SENSIBLE = re.compile(r"container|orchestrat|deploy|cluster|cloud|platform", re.IGNORECASE)


@pytest.fixture
async def gemma(kube: Kube, gemma_volume: None, llamacpp_image: str) -> AsyncIterator[str]:
    """The name of the Service that KServe created for an InferenceService, which is Ready."""
    await kube.apply(objects.llamacpp_runtime(llamacpp_image), objects.inference_service("gemma"))
    await kube.wait_for_condition("inferenceservice", "gemma", "Ready", timeout=120)
    yield "gemma-predictor"
    await kube.delete("inferenceservice", "gemma", wait=True)  # one model at a time


async def test_a_completion_is_streamed_and_makes_sense(gemma: str, access: ServiceAccess) -> None:
    url = await reachable(access, gemma)
    async with access.session() as session:
        completion = await complete(session, url, "Kubernetes is")
    assert SENSIBLE.search(completion.text)
    assert len(completion.arrivals) > 10  # it arrived in pieces


async def test_eight_concurrent_requests_all_get_responses(gemma: str, access: ServiceAccess) -> None:
    url = await reachable(access, gemma)
    async with access.session() as session:

        async def ask(number: int) -> Completion:
            return await complete(session, url, f"{number} and {number} is", max_tokens=16)

        outcomes = await concurrent.run(ask, requests=8, at_once=8)
    assert [outcome for outcome in outcomes if not outcome.answered] == []
