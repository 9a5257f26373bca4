"""Alerts about Slipway's own programs and what they need: each is fired by its real cause, and resolves."""

from __future__ import annotations

from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from support.builders.llmdeployments import at_zero
from support.cluster import Kube
from support.faults.components import paused, scaled_to_zero
from support.faults.scripted_models import monitored_model
from support.monitoring.on_cluster import ClusterMonitoring

KEDA = "keda"


async def test_no_operator_leads(alerts: ClusterMonitoring, kube: Kube) -> None:
    firing = alerts.expects(
        "SlipwayOperatorWithoutLeader",
        cause="The operator's Deployment is scaled to zero.",
        remedy="It is scaled to two replicas again.",
    )
    async with scaled_to_zero(kube.within(SLIPWAY_NAMESPACE), "slipway-operator"):
        await firing.fires()
    await firing.resolves()


async def test_an_operator_that_sees_no_changes(alerts: ClusterMonitoring, node: Cluster) -> None:
    firing = alerts.expects(
        "SlipwayOperatorStale",
        cause="The API server's process is stopped (SIGSTOP): connections stay open, and no watch sends anything.",
        remedy="It goes on (SIGCONT).",
    )
    async with paused(node, "kube-apiserver"):
        await firing.fires(within=120)
    await firing.resolves()


async def test_keda_does_not_ask_for_the_demand(alerts: ClusterMonitoring, kube: Kube) -> None:
    firing = alerts.expects(
        "SlipwayScalerUnreachable",
        cause="KEDA's operator is scaled to zero while a model sleeps.",
        remedy="It is scaled to one replica again.",
    )
    async with monitored_model(alerts, kube, at_zero()):
        await kube.wait_for_condition("scaledobject", "model", "Ready")
        async with scaled_to_zero(kube.within(KEDA), "keda-operator"):
            await firing.fires(within=120)
        await firing.resolves(within=120)
