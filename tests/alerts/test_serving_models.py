"""Alerts about models that serve: each is fired by real requests to a real llama.cpp, and resolves after the remedy."""

from __future__ import annotations

from typing import Any

from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import GEMMA_CLAIM, GEMMA_FACTS, cpu_profile, gemma
from support.builders.objects import Object
from support.cluster import FromTheNode, Kube, until_settled
from support.cluster.services import reachable
from support.faults.scripted_models import monitored_model
from support.load.overload import overload
from support.monitoring.firing import Firing
from support.monitoring.on_cluster import ClusterMonitoring

NAME = "gemma"
AT_ONCE = 6
TOKENS = 8
WRONG = {**GEMMA_FACTS, "weights": "1000000000"}
FAST = cpu_profile("fires-fast", bandwidth="8000G", tera=2000)
"""It promises more than any CPU can do."""


def about(alerts: ClusterMonitoring, kube: Kube, alert: str, cause: str, remedy: str) -> Firing:
    return alerts.expects(alert, cause=cause, remedy=remedy, namespace=kube.namespace, llmdeployment=NAME)


def one_at_a_time(**spec: Any) -> Object:
    return gemma(
        min_replicas=1,
        model={"uri": f"pvc://{GEMMA_CLAIM}/"},
        engine={"name": "llamacpp", "contextLength": 1024, "maxConcurrency": 1},
        scaling={"minReplicas": 1, "maxReplicas": 1},
        **spec,
    )


async def test_a_model_that_gets_more_requests_than_it_can_serve(
    alerts: ClusterMonitoring, node: Cluster, gemma_kube: Kube
) -> None:
    cause = f"{AT_ONCE} clients at a time of a model with one replica, which computes one request at a time."
    saturated = [
        about(alerts, gemma_kube, alert, cause, "One client is left.")
        for alert in ("SlipwayBatchSaturated", "SlipwayAtMaxReplicas")
    ]
    burning = [
        about(alerts, gemma_kube, alert, f"{cause} Its objectives can't be met on a CPU.", "The objective is removed.")
        for alert in ("SlipwayTTFTBudgetBurning", "SlipwayTPOTBudgetBurning", "SlipwayE2EBudgetBurning")
    ]
    slow = about(
        alerts,
        gemma_kube,
        "SlipwayThroughputBelowPlan",
        f"{cause} Its AcceleratorProfile promises 8 TB/s.",
        "The last client stops.",
    )
    model = one_at_a_time(
        slo={"ttftP95": "5ms", "tpotP95": "1ms", "e2eP99": "50ms"}, accelerator={"profiles": ["fires-fast"]}
    )
    model["spec"]["model"]["facts"] = GEMMA_FACTS
    async with monitored_model(alerts, gemma_kube, FAST, model, name=NAME):
        await until_settled(gemma_kube, NAME, "Serving", timeout=120)
        access = FromTheNode(gemma_kube, node.entered)
        url = await reachable(access, NAME)
        async with access.session() as session:
            async with overload(session, url, NAME, at_once=AT_ONCE, tokens=TOKENS):
                for firing in (*saturated, *burning, slow):
                    await firing.fires(within=180)
            async with overload(session, url, NAME, at_once=1, tokens=TOKENS):
                for firing in saturated:
                    await firing.resolves(within=180)
        await slow.resolves()
        await gemma_kube.patch("llmdeployment", NAME, {"spec": {"slo": None}})
        for firing in burning:
            await firing.resolves()


async def test_a_replica_without_requests(alerts: ClusterMonitoring, node: Cluster, gemma_kube: Kube) -> None:
    firing = about(
        alerts,
        gemma_kube,
        "SlipwayAcceleratorIdle",
        "A replica that gets no request. It runs on a CPU, so the alert's value `devices` is 0.",
        "A request.",
    )
    async with monitored_model(alerts, gemma_kube, one_at_a_time(), name=NAME):
        await until_settled(gemma_kube, NAME, "Serving", timeout=120)
        await firing.fires()
        access = FromTheNode(gemma_kube, node.entered)
        url = await reachable(access, NAME)
        async with access.session() as session, overload(session, url, NAME, at_once=1, tokens=TOKENS):
            await firing.resolves()


async def test_a_plan_that_is_wrong(alerts: ClusterMonitoring, gemma_kube: Kube) -> None:
    firing = about(
        alerts,
        gemma_kube,
        "SlipwayPlanErrorLarge",
        "`spec.model.facts` with weights of 1 GB, of a model whose weights have 247 MB.",
        "The true size is written, and the replica replaced.",
    )
    model = one_at_a_time()
    model["spec"]["model"]["facts"] = WRONG
    async with monitored_model(alerts, gemma_kube, model, name=NAME):
        await until_settled(gemma_kube, NAME, "Serving", timeout=120)
        await firing.fires(within=120)
        await gemma_kube.patch("llmdeployment", NAME, {"spec": {"model": {"facts": {"weights": "246587904"}}}})
        await gemma_kube.run("delete", "pod", "--selector=slipway.dev/llmdeployment=gemma", "--wait=false")
        await firing.resolves(within=180)


async def test_a_budget_that_is_nearly_spent(alerts: ClusterMonitoring, gemma_kube: Kube) -> None:
    firing = about(
        alerts,
        gemma_kube,
        "SlipwayBudgetNearlySpent",
        "A replica of a profile whose price is 3,600 per hour, and a budget of 20 per day.",
        "The budget is raised to 100,000 per day.",
    )
    async with monitored_model(alerts, gemma_kube, one_at_a_time(budget={"perDay": 20}), name=NAME):
        await firing.fires(within=180)
        await gemma_kube.patch("llmdeployment", NAME, {"spec": {"budget": {"perDay": 100_000}}})
        await firing.resolves(within=180)
