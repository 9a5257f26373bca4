"""The path of runbooks/throughput-a-tenth-of-expected.md, with each cause set on purpose that a CPU can show.

Its causes in the KV cache are walked with vLLM, in test_vllm.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import GEMMA_CLAIM, GEMMA_FACTS, cpu_profile, gemma, merged
from support.builders.objects import Object
from support.cluster import FromTheNode, Kube, Settings, folder_claimed, own_namespace, until_settled
from support.cluster.services import reachable
from support.faults.scripted_models import monitored_model
from support.load.overload import overload
from support.monitoring.alert_walks import newest_pod
from support.monitoring.on_cluster import ClusterMonitoring
from support.pages.placeholders import Values
from support.pages.shell import Shell
from support.pages.walking import Walk, runbook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800, func_only=True)]

NAME, PAGE = "gemma", "throughput-a-tenth-of-expected"
CLIENTS, TOKENS = 4, 16
LOADED_FOR = 60.0
"""Seconds until what is measured is about this load alone."""

PATIENCE = 300.0
OF_MODEL = f'{{llmdeployment="{NAME}", namespace="%s"}}'
RUNNING, WAITING = f"slipway:requests_running{OF_MODEL}", f"slipway:requests_waiting{OF_MODEL}"
RATE = f"sum(rate(llamacpp:tokens_predicted_total{OF_MODEL}[45s]))"
MODEST = cpu_profile("modest", bandwidth="20G", tera=0.1)
"""With a speed, so that the plan expects one."""


@dataclass(frozen=True)
class Cause:
    """What is set on purpose, and the steps of the page that show it."""

    words: str
    steps: tuple[str, ...]
    clients: int = CLIENTS
    spec: Object | None = None
    queues: bool | None = False  # None: either


START = "1. What is expected, and what is there?"
CAUSES = (
    Cause(f"Nothing: {CLIENTS} clients, and as many requests at a time.", (START, "6. The work isn't what you count")),
    Cause(
        "A client that sends one request at a time.", (START, "2. The clients: too few requests at a time"), clients=1
    ),
    Cause(
        f"`maxConcurrency: 1`, and {CLIENTS} clients.",
        (START, "3. A small batch ceiling"),
        spec={"engine": {"maxConcurrency": 1}},
        queues=True,
    ),
    Cause(
        f"A CPU limit of `100m`, and {CLIENTS} clients.",
        (START, "4. A full batch that is slow"),
        spec={"pod": {"resources": {"limits": {"cpu": "100m"}}}},
        queues=None,
    ),
)


class Bench:
    """The demo model in a namespace of its own, loaded as each cause says."""

    def __init__(self, alerts: ClusterMonitoring, reader: Shell, node: Cluster, kube: Kube) -> None:
        self.alerts, self.reader, self.node, self.kube = alerts, reader, node, kube

    async def walk(self, cause: Cause) -> None:
        """Follows the steps of the page; a queue is there only where the page says so."""
        values: Values = {"NAMESPACE": self.kube.namespace, "NAME": NAME, "POD": lambda: newest_pod(self.kube, NAME)}
        walk = Walk(runbook(PAGE), self.reader, values, cause.words)
        async with self.loaded(cause.clients):
            await asyncio.sleep(LOADED_FOR)
            for step in cause.steps:
                await walk.through("Steps", step, within=PATIENCE)
            running, waiting, speed = (
                self.alerts.own.value(query % self.kube.namespace) or 0 for query in (RUNNING, WAITING, RATE)
            )
        assert running > 0
        assert cause.queues in (None, waiting > 0), f"{waiting} requests wait"
        walk.saw(f"{running:.0f} ran, {waiting:.0f} waited, {speed:.1f} output tokens per second.")
        walk.record()

    @asynccontextmanager
    async def loaded(self, clients: int) -> AsyncGenerator[None]:
        access = FromTheNode(self.kube, self.node.entered)
        url = await reachable(access, NAME, timeout=PATIENCE)
        async with access.session() as session, overload(session, url, NAME, at_once=clients, tokens=TOKENS):
            yield


@pytest.fixture
async def bench(
    alerts: ClusterMonitoring, reader: Shell, node: Cluster, whole: Kube, settings: Settings, cause: Cause
) -> AsyncIterator[Bench]:
    weights = model.ensure_gguf(settings.cache, settings.steps)
    async with (
        own_namespace(whole) as kube,
        folder_claimed(kube, GEMMA_CLAIM, weights),
        monitored_model(alerts, kube, MODEST, planned(cause.spec or {}), name=NAME),
    ):
        await until_settled(kube, NAME, "Serving", timeout=PATIENCE)
        yield Bench(alerts, reader, node, kube)


def planned(change: Object) -> Object:
    """The demo model, of which enough is known to expect a speed."""
    engine = {"name": "llamacpp", "contextLength": 1024, "maxConcurrency": CLIENTS}
    found = gemma(min_replicas=1, engine=engine, scaling={"minReplicas": 1, "maxReplicas": 1})
    known = {"accelerator": {"profiles": ["modest"]}, "model": {"facts": GEMMA_FACTS}}
    return merged(merged(found, {"spec": known}), {"spec": change})


@pytest.mark.parametrize("cause", CAUSES, ids=("nothing", "client", "ceiling", "starved"))
async def test_a_cause_looks_as_its_step_says(bench: Bench, cause: Cause) -> None:
    await bench.walk(cause)
