"""Runbooks about what only vLLM measures, walked with a real vLLM on CPUs, as a process of this machine.

Their commands are queries to Prometheus, which scrapes it with the labels that the PodMonitor of a model adds.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import pytest_asyncio
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from support.builders.model_files import write_checkpoint
from support.load.clients import clients_of
from support.monitoring import programs
from support.monitoring.alert_walks import AlertWalk, asking
from support.monitoring.firing import Firing
from support.monitoring.on_pod import monitored_pod
from support.monitoring.prometheus import Monitoring
from support.pages.shell import Shell
from support.pages.walking import Walk, runbook
from support.programs import vllm_environment
from support.programs.vllm_pod import VllmPod

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(2400)]

MODEL = {"namespace": "team", "llmdeployment": "tiny"}
LENGTH, AT_ONCE = 1024, 16
BLOCK, BLOCKS = 32, 40
"""Of the KV cache: room for one request of the full length, and a little more."""

SPECULATION = '{"method":"ngram","num_speculative_tokens":3,"prompt_lookup_max":3,"prompt_lookup_min":1}'
PATIENCE = 400.0
"""Seconds: rates are of five minutes."""


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
    patient = aiohttp.ClientTimeout(total=900)
    async with (
        aiohttp.ClientSession(timeout=patient) as http,
        VllmPod(tmp_path_factory.mktemp("pod"), http, python) as pod,
    ):
        await pod.serve(tiny, flags=(*small, f"--max-num-seqs={AT_ONCE}", f"--speculative-config={SPECULATION}"))
        await pod.until_ready()
        yield pod


@pytest.fixture(scope="module")
def own(pod: VllmPod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    """Prometheus with the chart's rules."""
    with monitored_pod(pod, MODEL, tmp_path_factory.mktemp("monitoring")) as own:
        yield own


@pytest.fixture(scope="module")
def reader(own: Monitoring, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell with promtool alone: there is no cluster."""
    cache = default_cache()
    shell = Shell.made(tmp_path_factory.mktemp("reader"), {}, None)
    return asking(shell, own, programs.ensure(cache, Steps(cache)))


VALUES_OF_PAGES = {"NAMESPACE": MODEL["namespace"], "NAME": MODEL["llmdeployment"]}


async def walk_of(alert: str, own: Monitoring, reader: Shell, fault: str) -> AlertWalk:
    """Once it doesn't fire because of the test before: all of them speculate."""
    await asyncio.to_thread(own.until_quiet, alert, within=PATIENCE)
    firing = Firing(own, alert, fault, "", MODEL, len(own.receiver.notifications))
    return AlertWalk(runbook(alert), reader, VALUES_OF_PAGES, fault, firing=firing)


async def test_preempting(pod: VllmPod, own: Monitoring, reader: Shell) -> None:
    fault = f"{AT_ONCE} requests of {LENGTH} tokens at a time, with a KV cache for {BLOCK * BLOCKS}."
    walk = await walk_of("SlipwayPreempting", own, reader, fault)
    path = Walk(runbook("throughput-a-tenth-of-expected"), reader, VALUES_OF_PAGES, fault)
    long = {"temperature": 1.0, "max_tokens": LENGTH - 150}
    async with clients_of(pod, at_once=AT_ONCE, prompt=lambda: secrets.token_hex(50), **long):
        await walk.fires(within=PATIENCE)
        await walk.diagnoses("1. How full, how often?", "3. Since when?")
        shown = await path.through("Steps", "5. KV thrashing")
        usage, preemptions = (float(line.partition("=> ")[2].split()[0]) for line in shown)
        path.saw(f"{usage:.2f} of the KV cache in use, {preemptions:.4f} preemptions per second.")
        path.record()
    await walk.mitigates(within=PATIENCE, by_test="The test ended its load.")
    await walk.ends(within=PATIENCE)


async def test_prefix_hits_collapsed(pod: VllmPod, own: Monitoring, reader: Shell) -> None:
    walk = await walk_of(
        "SlipwayPrefixHitsCollapsed",
        own,
        reader,
        "Many requests with the same prompt, then as many with different ones.",
    )
    same = secrets.token_hex(200)
    async with clients_of(pod, at_once=2, prompt=lambda: same, max_tokens=2):
        await asyncio.sleep(40)
    async with clients_of(pod, at_once=2, prompt=lambda: secrets.token_hex(200), max_tokens=2):
        await walk.fires(within=PATIENCE)
        await walk.diagnoses("1. A step, or a slope?")
    async with clients_of(pod, at_once=2, prompt=lambda: same, max_tokens=2):
        await walk.ends(within=PATIENCE)


async def test_speculation_ineffective(pod: VllmPod, own: Monitoring, reader: Shell) -> None:
    fault = "n-gram speculation for text at random, by a model with random weights."
    walk = await walk_of("SlipwaySpeculationIneffective", own, reader, fault)
    random = {"temperature": 1.0, "max_tokens": LENGTH - 150}
    async with clients_of(pod, at_once=2, prompt=lambda: secrets.token_hex(50), **random):
        await walk.fires(within=PATIENCE)
        await walk.diagnoses()
    walk.saw("The test ended its requests.")
    await walk.ends(within=PATIENCE)
