"""The panels of one model have data for vLLM, too: each query that needs only the metrics of pods is run against a real
Prometheus that has watched a real vLLM under load."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from slipway_monitoring.dashboards.deployment import DEPLOYMENT
from slipway_monitoring.dashboards.filling import Filled, filled
from slipway_monitoring.rendering import default_rules
from slipway_monitoring.vocabulary import GROUPS
from support.builders.objects import Object
from support.load.completions import complete
from support.monitoring import programs
from support.monitoring.prometheus import Monitoring, monitoring
from support.programs.vllm_pod import VllmPod

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1800, func_only=True)]

LABELS = {"namespace": "chat", "llmdeployment": "gemma", "pod": "gemma-1"}
LOAD = 45.0  # seconds
AT_ONCE = 6
REPEATED = "One two three four five six seven eight. " * 12 + "One two three four five"
"""A prompt that the prefix cache keeps, and whose continuation ngram can draft from it."""

SPECULATIVE = json.dumps({"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_max": 4})
FROM_PODS = {
    "Where requests are",
    "How long each step takes (p95)",
    "Requests by status",
    "Tokens per second",
    "Time to the first token",
    "Time per output token",
    "Time between tokens",
    "Whole request",
    "Batch",
    "KV cache and prefix cache",
    "Preemptions",
    "Speculative decoding",
    "Tokens per step of speculation",
}
"""Panels that show what a pod exposes."""

OF_OTHERS = ("slipway_slo_", "slipway_planned_", "slipway_activator_", "slipway:requests_held")
"""What operator and activator expose; tests/alerts has them."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pod(tmp_path_factory: pytest.TempPathFactory, python: Path, gemma: Path) -> AsyncIterator[VllmPod]:
    async with aiohttp.ClientSession() as http, VllmPod(tmp_path_factory.mktemp("pod"), http, python) as pod:
        flags = ("--max-model-len=1024", "--max-num-seqs=2", f"--speculative-config={SPECULATIVE}")
        await pod.serve(gemma, flags=flags)
        await pod.until_ready()
        yield pod


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(pod: VllmPod, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Monitoring]:
    cache = default_cache()
    target = {"targets": [f"127.0.0.1:{pod.port}"], "labels": LABELS}
    scrapes: list[Object] = [{"job_name": "models", "static_configs": [target]}]
    with monitoring(
        programs.ensure(cache, Steps(cache)),
        tmp_path_factory.mktemp("monitoring"),
        rules={"rules.yaml": default_rules(GROUPS, ())},
        scrapes=scrapes,
    ) as own:
        await load(pod)
        yield own


async def load(pod: VllmPod) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + LOAD

    async def client(number: int) -> None:
        while loop.time() < end:
            await complete(pod.http, pod.url, f"{number % 2} {REPEATED}", model=pod.model, max_tokens=24)

    await asyncio.gather(*map(client, range(AT_ONCE)))


def queries() -> Iterator[Filled]:
    for each in filled(DEPLOYMENT, namespace=LABELS["namespace"], llmdeployment=LABELS["llmdeployment"]):
        if each.panel.title in FROM_PODS and not any(name in each.promql for name in OF_OTHERS):
            yield each


@pytest.mark.parametrize("query", list(queries()), ids=lambda each: each.place)
async def test_a_query_of_a_panel_has_data(watched: Monitoring, query: Filled) -> None:
    await asyncio.to_thread(watched.until_data, query.promql, within=90)
