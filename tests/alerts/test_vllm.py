"""Alerts about what only vLLM measures, fired by a real vLLM on CPUs, as a process of this machine without a cluster.

Prometheus scrapes it with the labels that the PodMonitor of a model adds.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from support.builders.model_files import write_checkpoint
from support.load.clients import clients_of
from support.monitoring.firing import Firing
from support.monitoring.on_pod import monitored_pod
from support.monitoring.prometheus import Monitoring
from support.programs import vllm_environment
from support.programs.vllm_pod import VllmPod

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1800)]

MODEL = {"namespace": "team", "llmdeployment": "tiny"}
LENGTH = 1024
BLOCK, BLOCKS = 32, 40
"""Of the KV cache: room for one request of the full length, and a little more."""

SPECULATION = '{"method":"ngram","num_speculative_tokens":3,"prompt_lookup_max":3,"prompt_lookup_min":1}'
AT_RANDOM: dict[str, Any] = {"temperature": 1.0, "max_tokens": LENGTH - 150}
SETTLES_WITHIN = 400.0
"""Seconds, for rates of five minutes."""

Expects = Callable[[str, str, str], Awaitable[Firing]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pod(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[VllmPod]:
    """A model with random weights, hardly any KV cache, and speculation."""
    cache = default_cache()
    try:
        python = vllm_environment.ensure(cache, Steps(cache))
    except Refusal as refusal:
        pytest.skip(f"vLLM for CPUs can't be installed here: {refusal}")
    tiny = write_checkpoint(tmp_path_factory.mktemp("tiny"), max_position_embeddings=LENGTH)
    small = (f"--max-model-len={LENGTH}", f"--block-size={BLOCK}", f"--num-gpu-blocks-override={BLOCKS}")
    async with aiohttp.ClientSession() as http, VllmPod(tmp_path_factory.mktemp("pod"), http, python) as pod:
        await pod.serve(tiny, flags=(*small, f"--speculative-config={SPECULATION}"))
        await pod.until_ready()
        yield pod


@pytest.fixture(scope="module")
def own(pod: VllmPod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    """Prometheus with the chart's rules."""
    with monitored_pod(pod, MODEL, tmp_path_factory.mktemp("monitoring")) as own:
        yield own


@pytest.fixture(scope="module")
def expects(own: Monitoring) -> Expects:
    async def expects(alert: str, cause: str, remedy: str) -> Firing:
        """Waits until it doesn't fire because of the test before."""
        await asyncio.to_thread(own.until_quiet, alert, within=SETTLES_WITHIN)
        return Firing(own, alert, cause, remedy, MODEL, len(own.receiver.notifications))

    return expects


async def test_prompts_that_are_no_longer_found_in_the_kv_cache(pod: VllmPod, expects: Expects) -> None:
    firing = await expects(
        "SlipwayPrefixHitsCollapsed",
        "Many requests with the same prompt, then as many with different ones.",
        "The prompts are the same again.",
    )
    same = secrets.token_hex(200)
    async with clients_of(pod, at_once=2, prompt=lambda: same, max_tokens=2):
        await asyncio.sleep(40)
    async with clients_of(pod, at_once=2, prompt=lambda: secrets.token_hex(200), max_tokens=2):
        await firing.fires(within=300)
    async with clients_of(pod, at_once=2, prompt=lambda: same, max_tokens=2):
        await firing.resolves(within=SETTLES_WITHIN)


async def test_a_kv_cache_that_is_too_small(pod: VllmPod, expects: Expects) -> None:
    firing = await expects(
        "SlipwayPreempting",
        f"Five requests of {LENGTH} tokens at a time with a KV cache for {BLOCK * BLOCKS} tokens.",
        "No further requests are sent.",
    )
    async with clients_of(pod, at_once=5, prompt=lambda: secrets.token_hex(50), **AT_RANDOM):
        await firing.fires(within=300)
    await firing.resolves(within=SETTLES_WITHIN)


async def test_speculation_that_is_not_accepted(pod: VllmPod, expects: Expects) -> None:
    firing = await expects(
        "SlipwaySpeculationIneffective",
        "n-gram speculation for text at random, by a model with random weights.",
        "No further requests are sent.",
    )
    async with clients_of(pod, at_once=2, prompt=lambda: secrets.token_hex(50), **AT_RANDOM):
        await firing.fires(within=300)
    await firing.resolves(within=SETTLES_WITHIN)
