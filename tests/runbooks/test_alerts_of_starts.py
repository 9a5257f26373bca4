"""Runbooks of alerts about models that start, wake or fail, walked on a devcluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from slipway.api.names import SLEEP_ANNOTATION
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import GEMMA_CLAIM, NAME, gemma, own_runtime
from support.builders.objects import Object
from support.cluster import FromTheNode, Kube, Settings, folder_claimed, own_namespace, until_settled
from support.cluster.report import namespace_sections
from support.faults.pod_failures import GPU_FULL, UNKNOWN_ARGUMENT, says_and_fails
from support.faults.scripted_models import answering, monitored_model, scripted
from support.load.sleeping_models import RequestGroup, SleepingModel
from support.load.watched_models import EMPTY_CLAIM, Clients, sleeping
from support.load.watched_models import NAME as DEMO
from support.monitoring.alert_walks import AlertWalk, alert_walk
from support.monitoring.on_cluster import ClusterMonitoring
from support.pages.shell import Shell
from support.pages.walking import runbook
from support.waiting import until

pytestmark = pytest.mark.slow

NOWHERE = {"nodeSelector": {"slipway.dev/test": "nowhere"}}
PATIENCE = 180.0
REPLACED = "The test replaced the engine."


class Bench:
    """One namespace, and what a walk of its models' runbooks needs."""

    def __init__(self, alerts: ClusterMonitoring, reader: Shell, node: Cluster, kube: Kube) -> None:
        self.alerts, self.shell, self.node, self.kube = alerts, reader, node, kube

    def report_sections(self) -> Iterator[tuple[str, str]]:
        yield from namespace_sections(self.kube)

    def walk(self, alert: str, fault: str, name: str = NAME, **values: str) -> AlertWalk:
        return alert_walk(self.alerts, self.shell, self.kube, alert, fault, NAME=name, **values)

    @asynccontextmanager
    async def requests(self, number: int = 1, name: str = NAME) -> AsyncGenerator[RequestGroup]:
        """Sends requests to the model; those that still wait are cancelled at the end."""
        access = FromTheNode(self.kube, self.node.entered)
        async with access.session() as session:
            sleeper = SleepingModel(self.kube, name, session, await access.url(name))
            group = RequestGroup(sleeper, [sleeper.request(each) for each in range(number)])
            try:
                yield group
            finally:
                await group.cancel()

    async def falls_asleep(self, name: str) -> None:
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        await self.kube.run("annotate", "llmdeployment", name, f"{SLEEP_ANNOTATION}={now}", "--overwrite")
        await until_settled(self.kube, name, "Idle", timeout=PATIENCE)


@pytest.fixture
async def bench(
    alerts: ClusterMonitoring, reader: Shell, node: Cluster, whole: Kube, settings: Settings
) -> AsyncIterator[Bench]:
    """Its namespace has the demo model as the claim `gemma`, and a claim for engines that read no model."""
    weights = model.ensure_gguf(settings.cache, settings.steps)
    async with (
        own_namespace(whole) as kube,
        folder_claimed(kube, GEMMA_CLAIM, weights),
        folder_claimed(kube, "weights", Path("/usr")),
    ):
        yield Bench(alerts, reader, node, kube)


def failing(image: str, words: str) -> Object:
    """A runtime whose engine prints these words and ends."""
    return own_runtime(image=image, command=says_and_fails(words), terminationMessagePolicy="FallbackToLogsOnError")


async def test_requests_held_too_long(bench: Bench, python_image: str) -> None:
    fault = "A request to a model at zero whose pod finds no node, because of its nodeSelector."
    walk = bench.walk("SlipwayRequestsHeldTooLong", fault)
    async with scripted(bench.alerts, bench.kube, answering(python_image), replicas=0, pod=NOWHERE):
        await bench.kube.wait_for_condition("scaledobject", NAME, "Ready")
        async with bench.requests() as requests:
            await walk.fires()
            await walk.diagnoses(
                "1. What does it wait for?",
                "2. No pod",
                "3. How long has each phase taken, and how long did it take the last time?",
            )
            await walk.mitigates()
            await requests.until_ended()
            assert not requests.lost
        await walk.ends()


def one_argument_too_many(**spec: Any) -> Object:
    """The demo model at zero, with a chat template that llama.cpp can't parse."""
    engine = {"name": "llamacpp", "contextLength": 512, "maxConcurrency": 1, "extraArgs": ["--chat-template={% for %}"]}
    return gemma(min_replicas=0, **{"engine": engine, "scaling": {"minReplicas": 0, "maxReplicas": 1}, **spec})


async def test_wake_failing(bench: Bench) -> None:
    fault = "Requests to a model at zero whose `engine.extraArgs` have a chat template that ends in the middle."
    walk = bench.walk("SlipwayWakeFailing", fault, DEMO)
    async with monitored_model(bench.alerts, bench.kube, one_argument_too_many(), name=DEMO):
        await bench.kube.wait_for_condition("scaledobject", DEMO, "Ready", timeout=PATIENCE)
        async with bench.requests(4, DEMO):
            await walk.fires(within=PATIENCE)
            await walk.diagnoses("1. The cause", "2. What the engine said before it ended", "3. Did it ever wake?")
        await bench.kube.patch("llmdeployment", DEMO, {"spec": {"engine": {"extraArgs": None}}})
        await walk.mitigates(by_test="The test removed the argument.")
        await walk.ends(within=PATIENCE)


async def test_cold_start_slow(bench: Bench, python_image: str) -> None:
    fault = "An engine that starts in a moment the first time, and in 30 seconds the next."
    walk = bench.walk("SlipwayColdStartSlow", fault)
    async with scripted(bench.alerts, bench.kube, answering(python_image), replicas=0):
        await bench.kube.wait_for_condition("scaledobject", NAME, "Ready")
        for starts_for in (0, 30):
            await bench.kube.apply(answering(python_image, starts_for=starts_for))
            async with bench.requests() as requests:
                await requests.until_ended()
            await until_settled(bench.kube, NAME, "Serving", timeout=PATIENCE)
            if not starts_for:
                await asyncio.sleep(25)  # it becomes the usual
                await bench.falls_asleep(NAME)
        await walk.fires(within=PATIENCE)
        await walk.diagnoses("1. Which phase took the time?", "4. `pull`: an image, or the model's files")
        await walk.mitigates(by_test="The cause stays; the alert ends with time.")
        await walk.ends(within=PATIENCE)


async def test_gpu_out_of_memory(bench: Bench, python_image: str) -> None:
    """No devcluster has a GPU: the engine ends with the sentence of a real one."""
    fault = f"An engine that ends with `{GPU_FULL}`, as recorded on a GPU."
    walk = bench.walk("SlipwayGpuOutOfMemory", fault)
    of_reason = replace(walk, page=runbook("GpuOutOfMemory"), seen=[], commands={})
    async with scripted(bench.alerts, bench.kube, failing(python_image, GPU_FULL)):
        await walk.fires()
        await of_reason.diagnoses()
        of_reason.saw("The status named it.")
        of_reason.record()
        await walk.diagnoses(
            "1. Does it happen at the start, or while it serves?", "2. At the start: what didn't fit?", "5. Since when?"
        )
        await bench.kube.apply(own_runtime())
        await walk.mitigates("See that it is healed", by_test=REPLACED)
        await walk.ends()


async def test_model_failed_and_load_failing(bench: Bench, python_image: str) -> None:
    fault = "An engine that ends with `unrecognized arguments: --nope`."
    failed = bench.walk("SlipwayModelFailed", fault)
    loading = bench.walk("SlipwayModelLoadFailing", fault)
    async with scripted(bench.alerts, bench.kube, failing(python_image, UNKNOWN_ARGUMENT)):
        await failed.fires()
        await loading.fires()
        await failed.diagnoses("1. The sentence", "2. Only this model?", "3. What happened before?")
        await loading.diagnoses(
            "1. The reason, and the engine's own sentence",
            "2. The exit code and the last lines",
            "3. One node, or all?",
            "4. Since a change?",
        )
        await bench.kube.apply(own_runtime())
        await failed.mitigates(by_test=REPLACED)
        await loading.mitigates(by_test=REPLACED)
        await failed.ends()
        await loading.ends()


async def test_availability_budget_burning(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    empty.chmod(0o755)
    fault = "Requests to a model at zero whose folder has no model."
    walk = bench.walk("SlipwayAvailabilityBudgetBurning", fault, DEMO, CLAIM=GEMMA_CLAIM)
    clients = Clients(bench.kube, bench.node.entered)

    async def is_answered() -> bool:
        return await clients.ask() == "answered"

    refused = sleeping(model={"uri": f"pvc://{EMPTY_CLAIM}/"}, slo={"availability": "99%"})
    async with (
        folder_claimed(bench.kube, EMPTY_CLAIM, empty),
        monitored_model(bench.alerts, bench.kube, refused, name=DEMO),
    ):
        await bench.kube.wait_for_condition("scaledobject", DEMO, "Ready", timeout=300)
        for _ in range(16):  # over several scrapes: a counter's first value is no growth
            assert "ModelNotFound" in await clients.ask()
            await asyncio.sleep(1)
        await walk.fires()
        await walk.diagnoses("1. How fast, and what is left?", "2. Which answers?")
        await walk.mitigates()
        await until(is_answered, timeout=PATIENCE)
        await walk.ends(within=400)
