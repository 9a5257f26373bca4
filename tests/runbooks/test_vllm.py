"""Runbooks about what only vLLM measures, walked with a real vLLM on CPUs, as a process of this machine.

Their commands are queries to Prometheus, which scrapes it with the labels that the PodMonitor of a model adds.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from support.builders.model_files import write_checkpoint
from support.charts.helm import rendered
from support.monitoring import programs
from support.monitoring.alert_walks import AlertWalk, asking
from support.monitoring.firing import Firing
from support.monitoring.on_cluster import quick
from support.monitoring.prometheus import Monitoring, monitoring
from support.pages.shell import Shell
from support.pages.walking import Walk, runbook
from support.programs import vllm_environment
from support.programs.vllm_pod import VllmPod

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(2400)]

VALUES = Path(__file__).parents[1] / "alerts/values.yaml"
MODEL = {"namespace": "team", "llmdeployment": "tiny"}
LENGTH, AT_ONCE = 1024, 16
BLOCK, BLOCKS = 32, 40
"""Of the KV cache: room for one request of the full length, and a little more."""

PATIENCE = 400.0
"""Seconds: rates are of five minutes."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pod(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[VllmPod]:
    """A model with random weights, and hardly any KV cache."""
    cache = default_cache()
    try:
        python = vllm_environment.ensure(cache, Steps(cache))
    except Refusal as refusal:
        pytest.skip(f"vLLM for CPUs can't be installed here: {refusal}")
    tiny = write_checkpoint(tmp_path_factory.mktemp("tiny"), max_position_embeddings=LENGTH)
    small = (f"--max-model-len={LENGTH}", f"--block-size={BLOCK}", f"--num-gpu-blocks-override={BLOCKS}")
    patient = aiohttp.ClientTimeout(total=900)
    async with (
        aiohttp.ClientSession(timeout=patient) as http,
        VllmPod(tmp_path_factory.mktemp("pod"), http, python) as pod,
    ):
        await pod.serve(tiny, flags=(*small, f"--max-num-seqs={AT_ONCE}"))
        await pod.until_ready()
        yield pod


@pytest.fixture(scope="module")
def own(pod: VllmPod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    """Prometheus with the chart's rules."""
    cache = default_cache()
    values = {"monitoring": yaml.safe_load(VALUES.read_text())["monitoring"]}
    [rule] = [each for each in rendered("slipway", values) if each["kind"] == "PrometheusRule"]
    scrapes = [{"job_name": "models", "static_configs": [{"targets": [f"127.0.0.1:{pod.port}"], "labels": MODEL}]}]
    rules = {"slipway.yaml": quick(rule["spec"])}
    found = programs.ensure(cache, Steps(cache))
    with monitoring(found, tmp_path_factory.mktemp("monitoring"), rules=rules, scrapes=scrapes) as own:
        yield own


@pytest.fixture(scope="module")
def reader(own: Monitoring, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell with promtool alone: there is no cluster."""
    cache = default_cache()
    shell = Shell.made(tmp_path_factory.mktemp("reader"), {}, None)
    return asking(shell, own, programs.ensure(cache, Steps(cache)))


VALUES_OF_PAGES = {"NAMESPACE": MODEL["namespace"], "NAME": MODEL["llmdeployment"]}


def walk_of(alert: str, own: Monitoring, reader: Shell, fault: str) -> AlertWalk:
    firing = Firing(own, alert, fault, "", MODEL, len(own.receiver.notifications))
    return AlertWalk(runbook(alert), reader, VALUES_OF_PAGES, fault, firing=firing)


@asynccontextmanager
async def requests(pod: VllmPod, *, at_once: int, prompt: Callable[[], str], **body: Any) -> AsyncGenerator[None]:
    """Sends requests while the block lasts."""

    async def ask() -> None:
        while True:
            async with await pod.completion(prompt=prompt(), ignore_eos=True, **body) as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()

    tasks = [asyncio.create_task(ask()) for _ in range(at_once)]
    try:
        yield
    finally:
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert not ended, f"a client gave up: {ended[0].exception()!r}"


async def test_preempting(pod: VllmPod, own: Monitoring, reader: Shell) -> None:
    fault = f"{AT_ONCE} requests of {LENGTH} tokens at a time, with a KV cache for {BLOCK * BLOCKS}."
    walk = walk_of("SlipwayPreempting", own, reader, fault)
    path = Walk(runbook("throughput-a-tenth-of-expected"), reader, VALUES_OF_PAGES, fault)
    long = {"temperature": 1.0, "max_tokens": LENGTH - 150}
    async with requests(pod, at_once=AT_ONCE, prompt=lambda: secrets.token_hex(50), **long):
        await walk.fires(within=PATIENCE)
        await walk.diagnoses("1. How full, how often?", "3. Since when?")
        shown = await path.through("Steps", "5. KV thrashing")
        usage, preemptions = (float(line.partition("=> ")[2].split()[0]) for line in shown)
        path.saw(f"{usage:.2f} of the KV cache in use, {preemptions:.4f} preemptions per second.")
        path.record()
    await walk.mitigates(within=PATIENCE, by_test="The test ended its load.")
    await walk.ends(within=PATIENCE)


async def test_prefix_hits_collapsed(pod: VllmPod, own: Monitoring, reader: Shell) -> None:
    walk = walk_of(
        "SlipwayPrefixHitsCollapsed",
        own,
        reader,
        "Many requests with the same prompt, then as many with different ones.",
    )
    same = secrets.token_hex(200)
    async with requests(pod, at_once=2, prompt=lambda: same, max_tokens=2):
        await asyncio.sleep(40)
    async with requests(pod, at_once=2, prompt=lambda: secrets.token_hex(200), max_tokens=2):
        await walk.fires(within=PATIENCE)
        await walk.diagnoses("1. A step, or a slope?")
    async with requests(pod, at_once=2, prompt=lambda: same, max_tokens=2):
        await walk.ends(within=PATIENCE)
