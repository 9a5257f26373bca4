"""Runbooks of alerts about models that serve, walked with a real llama.cpp under load."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import GEMMA_CLAIM, GEMMA_FACTS, cpu_profile, gemma
from support.builders.objects import Object
from support.cluster import FromTheNode, Kube, Settings, folder_claimed, own_namespace, until_settled
from support.cluster.report import namespace_sections
from support.cluster.services import reachable
from support.faults.scripted_models import monitored_model
from support.load.overload import overload
from support.monitoring.alert_walks import AlertWalk, alert_walk
from support.monitoring.on_cluster import ClusterMonitoring
from support.pages.shell import Shell

pytestmark = pytest.mark.slow

NAME = "gemma"
TWO_CLIENTS = "Two clients at a time of a model with one replica, which computes one request at a time."
PROMISED = cpu_profile("promised", bandwidth="8000G", tera=2000)
"""It promises more than any CPU can do."""

PATIENCE = 180.0


class Bench:
    """One namespace with the demo model, and what a walk of its runbooks needs."""

    def __init__(self, alerts: ClusterMonitoring, reader: Shell, node: Cluster, kube: Kube) -> None:
        self.alerts, self.shell, self.node, self.kube = alerts, reader, node, kube

    def report_sections(self) -> Iterator[tuple[str, str]]:
        yield from namespace_sections(self.kube)

    def walk(self, alert: str, fault: str, **values: str) -> AlertWalk:
        return alert_walk(self.alerts, self.shell, self.kube, alert, fault, NAME=NAME, **values)

    async def serves(self, stack: AsyncExitStack, *objects: Object, **spec: Any) -> None:
        """Until the end of the stack, the model serves; by default one request at a time."""
        await stack.enter_async_context(
            monitored_model(self.alerts, self.kube, *objects, one_at_a_time(**spec), name=NAME)
        )
        await until_settled(self.kube, NAME, "Serving", timeout=PATIENCE)

    async def is_loaded(self, stack: AsyncExitStack, clients: int, *, tokens: int = 8) -> None:
        access = FromTheNode(self.kube, self.node.entered)
        url = await reachable(access, NAME)
        session = await stack.enter_async_context(access.session())
        await stack.enter_async_context(overload(session, url, NAME, at_once=clients, tokens=tokens))


@pytest.fixture
async def bench(
    alerts: ClusterMonitoring, reader: Shell, node: Cluster, whole: Kube, settings: Settings
) -> AsyncIterator[Bench]:
    weights = model.ensure_gguf(settings.cache, settings.steps)
    async with own_namespace(whole) as kube, folder_claimed(kube, GEMMA_CLAIM, weights):
        yield Bench(alerts, reader, node, kube)


def one_at_a_time(**spec: Any) -> Object:
    found = gemma(
        min_replicas=1,
        engine={"name": "llamacpp", "contextLength": 1024, "maxConcurrency": 1},
        scaling={"minReplicas": 1, "maxReplicas": 1},
        **spec,
    )
    found["spec"]["model"]["facts"] = GEMMA_FACTS
    return found


async def test_batch_saturated(bench: Bench) -> None:
    walk = bench.walk("SlipwayBatchSaturated", TWO_CLIENTS, CONCURRENCY="4")
    async with AsyncExitStack() as stack:
        await bench.serves(stack)
        await bench.is_loaded(stack, 2)
        await walk.fires(within=PATIENCE)
        await walk.diagnoses(
            "1. How large are the batch and the queue, and how long is the wait?",
            "2. Why aren't there more replicas?",
            "3. Is there room for a larger batch?",
            "4. More requests, or longer ones?",
        )
        await walk.mitigates()
        await walk.ends(within=PATIENCE)


async def test_at_max_replicas(bench: Bench) -> None:
    walk = bench.walk("SlipwayAtMaxReplicas", TWO_CLIENTS, PROFILE="cpu", REPLICAS="2")
    async with AsyncExitStack() as stack:
        await bench.serves(stack)
        await bench.is_loaded(stack, 2)
        await walk.fires(within=PATIENCE)
        await walk.diagnoses(
            "1. Replicas and queue", "2. More requests, or slower answers?", "3. Is there a device for another replica?"
        )
        await walk.mitigates(within=2 * PATIENCE)
        await walk.ends(within=PATIENCE)


async def test_objectives_that_are_missed(bench: Bench) -> None:
    fault = f"{TWO_CLIENTS} Its objectives can't be met on a CPU."
    first = bench.walk("SlipwayTTFTBudgetBurning", fault)
    pace = bench.walk("SlipwayTPOTBudgetBurning", fault)
    total = bench.walk("SlipwayE2EBudgetBurning", fault)
    async with AsyncExitStack() as stack:
        missed = {"ttftP95": "5ms", "tpotP95": "1ms", "e2eP99": "50ms"}
        await bench.serves(stack, PROMISED, slo=missed, accelerator={"profiles": ["promised"]})
        await bench.is_loaded(stack, 2)
        for walk in (first, pace, total):
            await walk.fires(within=PATIENCE)
            await walk.diagnoses("1. How fast, and what is left?")
        await first.diagnoses("2. The queue, or the prompt?")
        await pace.diagnoses("2. The batch, or the engine?")
        await total.diagnoses("2. Which part of a request?")
        await bench.kube.patch("llmdeployment", NAME, {"spec": {"slo": None}})
        for walk in (first, pace, total):
            await walk.ends(within=PATIENCE)


async def test_throughput_below_plan(bench: Bench) -> None:
    fault = f"{TWO_CLIENTS} Its AcceleratorProfile promises 8 TB/s."
    walk = bench.walk("SlipwayThroughputBelowPlan", fault, PROFILE="promised", BANDWIDTH="20G")
    async with AsyncExitStack() as stack:
        await bench.serves(stack, PROMISED, accelerator={"profiles": ["promised"]})
        async with AsyncExitStack() as load:
            await bench.is_loaded(load, 2)
            await walk.fires(within=PATIENCE)
            await walk.diagnoses()
            await walk.mitigates(by_test="The test ended its load.")
        await walk.ends(within=PATIENCE)  # without load, since a busy machine may stay below any plan


async def test_accelerator_idle(bench: Bench) -> None:
    fault = "A replica that gets no request. It runs on a CPU, so the alert's value `devices` is 0."
    walk = bench.walk("SlipwayAcceleratorIdle", fault)
    async with AsyncExitStack() as stack:
        await bench.serves(stack)
        await walk.fires(within=PATIENCE)
        await walk.diagnoses("1. What it costs, and what for", "2. Why doesn't it sleep?")
        await walk.mitigates()
        await walk.ends(within=PATIENCE)


async def test_plan_error_large(bench: Bench) -> None:
    fault = "`spec.model.facts` with weights of 1 GB, of a model whose weights have 247 MB."
    walk = bench.walk("SlipwayPlanErrorLarge", fault, BYTES=GEMMA_FACTS["weights"])
    async with AsyncExitStack() as stack:
        wrong = {"uri": f"pvc://{GEMMA_CLAIM}/", "facts": {**GEMMA_FACTS, "weights": "1000000000"}}
        await stack.enter_async_context(
            monitored_model(bench.alerts, bench.kube, _with(one_at_a_time(), model=wrong), name=NAME)
        )
        await walk.fires(within=PATIENCE)
        await walk.diagnoses("1. Which number?", "2. Who wrote it?")
        await walk.mitigates()
        await walk.ends(within=PATIENCE)


def _with(thing: Object, **spec: Any) -> Object:
    return {**thing, "spec": {**thing["spec"], **spec}}


async def test_budget_nearly_spent(bench: Bench) -> None:
    fault = "A replica of a profile whose price is 3,600 per hour, and a budget of 20 per day."
    walk = bench.walk("SlipwayBudgetNearlySpent", fault, AMOUNT="100000")
    async with AsyncExitStack() as stack:
        await bench.serves(stack, budget={"perDay": 20})
        await walk.fires(within=PATIENCE)
        await walk.diagnoses("1. How much, until when, and what then?", "2. For what?")
        await walk.mitigates()
        await walk.ends(within=PATIENCE)
