"""Alerts about models that serve: each is fired by real requests to a real llama.cpp, and resolves after the remedy."""

from __future__ import annotations

from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import GEMMA_CLAIM, gemma
from support.cluster import FromTheNode, Kube, until_settled
from support.cluster.services import reachable
from support.faults.scripted_models import monitored_model
from support.load.overload import overload
from support.monitoring.on_cluster import ClusterMonitoring

NAME = "gemma"
AT_ONCE = 6
SMALL = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}


async def test_a_model_gets_more_requests_than_it_can_serve(
    alerts: ClusterMonitoring, node: Cluster, gemma_kube: Kube
) -> None:
    kube = gemma_kube
    overloaded = [
        alerts.expects(
            alert,
            cause=f"{AT_ONCE} clients at a time for a model of one replica, with one request at a time.",
            remedy="The clients stop.",
            namespace=kube.namespace,
            llmdeployment=NAME,
        )
        for alert in ("SlipwayBatchSaturated", "SlipwayAtMaxReplicas", "SlipwayTTFTBudgetBurning")
    ]
    one_at_a_time = gemma(
        min_replicas=1,
        model={"uri": f"pvc://{GEMMA_CLAIM}/"},
        engine={"name": "llamacpp", "contextLength": 1024, "maxConcurrency": 1},
        scaling={"minReplicas": 1, "maxReplicas": 1},
        slo={"ttftP95": "100ms"},
        pod={"resources": SMALL},
    )
    async with monitored_model(alerts, kube, one_at_a_time, name=NAME):
        await until_settled(kube, NAME, "Serving", timeout=120)
        access = FromTheNode(kube, node.entered)
        url = await reachable(access, NAME)
        async with access.session() as session:
            async with overload(session, url, at_once=AT_ONCE):
                for firing in overloaded:
                    await firing.fires(within=180)
            for firing in overloaded:
                await firing.resolves(within=400)
