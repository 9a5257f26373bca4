"""Budgets on a real cluster, with all of Slipway as pods. A replica costs one unit per second, so a budget is spent
soon after its start: that is then only reported, or the model sleeps, or refuses requests until the budget is raised.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from slipway.objects.conditions import condition
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import GEMMA_CLAIM, acceleratorprofile, llmdeployment
from support.cluster import FromTheNode, Kube, Object, Predicate, Settings, events_with, folder_claimed
from support.cluster.command_line import shell
from support.cluster.llmdeployments import current_status
from support.faults.healed import named_by_why
from support.faults.slipway_pods import PodFaults
from support.waiting import until

pytestmark = pytest.mark.timeout(400, func_only=True)  # the machine may be busy

NAME, PREDICTOR, OURS = "gemma", "gemma-predictor", "slipway.dev/llmdeployment=gemma"
BODY = {"model": NAME, "prompt": "Kubernetes is", "max_tokens": 8, "temperature": 0}
MUCH = 1e9
PROFILE: Object = {
    "vendor": "CPU",
    "resource": {"name": "cpu", "count": 1},
    "memory": "4Gi",
    "costPerHour": 3600.0,  # one per second
}


@dataclass(frozen=True)
class Answer:
    status: int
    retry_after: int
    body: Object

    @property
    def is_refused(self) -> bool:
        return (self.status, (self.body.get("error") or {}).get("code")) == (429, "budget_spent")


@dataclass(frozen=True)
class Client:
    """Sends requests to the Service as any process of the cluster would, each over a new connection."""

    session: aiohttp.ClientSession
    url: str

    async def ask(self, **more: Any) -> Answer:
        async with self.session.post(f"{self.url}/v1/completions", json=BODY | more) as answer:
            return Answer(answer.status, int(answer.headers.get("Retry-After", 0)), await answer.json())

    async def accepts(self) -> bool:
        """Whether the port accepts connections; this request doesn't wake a model."""
        try:
            async with self.session.options(self.url, headers={"Expect": "nothing"}):
                return True
        except aiohttp.ClientConnectionError:
            return False

    async def refused(self) -> Answer:
        """Waits for an answer that refuses: kube-proxy may still route to a replica that is gone."""
        async with asyncio.timeout(30):
            while True:
                with suppress(aiohttp.ClientConnectionError):
                    if (answer := await self.ask()).is_refused:
                        return answer
                await asyncio.sleep(0.1)


@pytest.fixture
async def kube(operator_pods: Cluster, neighbour_kube: Kube, settings: Settings) -> AsyncIterator[Kube]:
    """A namespace with the demo model's files, and a profile with a price."""
    weights = model.ensure_gguf(settings.cache, settings.steps)
    profile = neighbour_kube.namespace  # objects without a namespace must not meet those of other tests
    async with folder_claimed(neighbour_kube, GEMMA_CLAIM, weights):
        await neighbour_kube.apply(acceleratorprofile(profile, PROFILE))
        yield neighbour_kube
        await neighbour_kube.delete("llmdeployment", NAME, wait=True)
        await neighbour_kube.delete("acceleratorprofile", profile)


@pytest.fixture
async def client(operator_pods: Cluster, kube: Kube) -> AsyncIterator[Client]:
    """A client of the model, once `with_budget` has created it."""
    access = FromTheNode(kube, operator_pods.entered)
    async with access.session() as session:
        yield Client(session, "")


async def with_budget(kube: Kube, client: Client, operator_pods: Cluster, least: int = 0, **budget: Any) -> Client:
    spec: Object = {
        "model": {"uri": f"pvc://{GEMMA_CLAIM}/"},
        "engine": {"name": "llamacpp", "contextLength": 1024, "maxConcurrency": 2},
        "accelerator": {"profiles": [kube.namespace]},
        "scaling": {"minReplicas": least, "maxReplicas": 1, "idleAfter": "10s"},
        "budget": budget,
        "pod": {"resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}},
    }
    await kube.apply(llmdeployment(NAME, spec))
    await kube.wait_for_condition("scaledobject", NAME, "Ready", timeout=60)
    found = Client(client.session, await FromTheNode(kube, operator_pods.entered).url(NAME))
    await until(found.accepts)  # kube-proxy learns of the activator's slice a moment later
    return found


def budget_is(state: str) -> Predicate:
    return lambda found: (current_status(found).get("budget") or {}).get("state") == state


async def until_spent(kube: Kube) -> Object:
    return current_status(await kube.wait_for("llmdeployment", NAME, budget_is("Spent"), timeout=120))


async def spent(kube: Kube, status: Object) -> float:
    """Returns what the only pod had cost since it was bound, at the moment that the status is about."""
    [pod] = await kube.select("pods", OURS)
    return (datetime.fromisoformat(status["cost"]["asOf"]) - bound_at(pod)).total_seconds()


def bound_at(pod: Object) -> datetime:
    return datetime.fromisoformat((condition(pod, "PodScheduled") or {})["lastTransitionTime"])


async def until_replicas(kube: Kube, number: int) -> None:
    await kube.wait_for("deployment", PREDICTOR, lambda found: found["spec"]["replicas"] == number, timeout=90)


async def raise_budget(kube: Kube) -> None:
    await kube.patch("llmdeployment", NAME, {"spec": {"budget": {"perDay": MUCH}}})


async def raise_as_why_says(kube: Kube) -> None:
    """By the command of `kubectl llm why`, which leaves the number to a person."""
    following = (await named_by_why(kube, "BudgetSpent", NAME))["next"]
    [number] = following["values"]
    raised = await shell(kube, following["command"].replace(number, str(MUCH)))
    assert raised.code == 0, raised.err


async def test_a_budget_that_refuses_lets_requests_finish_and_answers_the_next_with_the_time_of_the_reset(
    kube: Kube, client: Client, operator_pods: Cluster
) -> None:
    client = await with_budget(kube, client, operator_pods, perDay=MUCH, then="Refuse")
    assert (await client.ask()).status == 200
    in_flight = asyncio.create_task(client.ask(max_tokens=80, ignore_eos=True))
    await kube.patch("llmdeployment", NAME, {"spec": {"budget": {"perDay": 1}}})
    status = await until_spent(kube)
    assert status["budget"]["day"]["spent"] == pytest.approx(await spent(kube, status), abs=1)
    finished = await in_flight
    assert finished.status == 200
    assert finished.body["choices"][0]["text"]
    await client.refused()
    await until_replicas(kube, 0)
    refused = await client.refused()
    resets_at = datetime.fromisoformat(status["budget"]["day"]["resetsAt"])
    assert f"until {resets_at:%Y-%m-%d %H:%M:%S} UTC" in refused.body["error"]["message"]
    left = (resets_at - datetime.now(UTC)).total_seconds()
    assert left - 2 <= refused.retry_after <= left + 65
    ready = await kube.wait_for_condition("llmdeployment", NAME, "Ready", status="False")
    assert (condition(ready, "Ready") or {})["reason"] == "BudgetSpent"
    await raise_as_why_says(kube)
    raised = time.monotonic()
    while (answer := await client.ask()).is_refused:
        assert time.monotonic() - raised < 30
    assert answer.status == 200


async def test_a_budget_that_lets_sleep_keeps_no_replica_without_requests_and_wakes_for_one(
    kube: Kube, client: Client, operator_pods: Cluster
) -> None:
    client = await with_budget(kube, client, operator_pods, 1, perDay=10, then="Sleep")
    await until_spent(kube)
    await until_replicas(kube, 0)
    assert (await client.ask()).status == 200
    await until_replicas(kube, 0)
    await raise_budget(kube)
    await until_replicas(kube, 1)


async def test_a_budget_that_is_only_reported_changes_nothing_and_its_sum_survives_the_operators(
    kube: Kube, client: Client, operator_pods: Cluster
) -> None:
    await with_budget(kube, client, operator_pods, 1, perMonth=25, then="Alert")
    await kube.wait_for("llmdeployment", NAME, budget_is("NearlySpent"), timeout=120)
    await events_with(kube, "BudgetNearlySpent", NAME)  # the operator writes it after the status
    faults = PodFaults(operator_pods, kube)
    for pod in await faults.slipway.select("pods", "app.kubernetes.io/name=slipway-operator"):
        await faults.kill(pod)
    status = await until_spent(kube)
    assert status["cost"]["month"]["spent"] == pytest.approx(await spent(kube, status), abs=0.01)
    assert status["cost"]["month"]["uncertain"] == 0
    assert (await kube.get("deployment", PREDICTOR))["spec"]["replicas"] == 1
    reasons = [reason for _, reason in await events_with(kube, "BudgetSpent", NAME)]
    assert [each for each in reasons if each.startswith("Budget")] == ["BudgetNearlySpent", "BudgetSpent"]
