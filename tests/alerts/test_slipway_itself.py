"""Alerts about Slipway's own programs and what they need: each is fired by its real cause, and resolves."""

from __future__ import annotations

from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from support.builders.llmdeployments import NAME, at_zero
from support.cluster import FromTheNode, Kube
from support.faults.components import paused, scaled_to_zero
from support.faults.scripted_models import monitored_model
from support.load.sleeping_models import RequestGroup, SleepingModel
from support.monitoring.on_cluster import ClusterMonitoring

KEDA = "keda"
LIMIT = 40
"""Of values.yaml: requests that each of two activators holds."""


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
        await firing.fires(within=280)
    await firing.resolves(within=150)


async def test_no_activator_is_scraped(alerts: ClusterMonitoring, kube: Kube) -> None:
    firing = alerts.expects(
        "SlipwayTargetMissing",
        cause="The activator's Deployment is scaled to zero.",
        remedy="It is scaled to two replicas again.",
        program="activator",
    )
    async with scaled_to_zero(kube.within(SLIPWAY_NAMESPACE), "slipway-activator"):
        await firing.fires()
    await firing.resolves()


async def test_keda_does_not_ask_for_the_demand(alerts: ClusterMonitoring, kube: Kube) -> None:
    firing = alerts.expects(
        "SlipwayScalerUnreachable",
        cause="KEDA's operator is scaled to zero while a model sleeps.",
        remedy="It is scaled to one replica again.",
        namespace=kube.namespace,
        llmdeployment=NAME,
    )
    async with monitored_model(alerts, kube, at_zero()):
        await kube.wait_for_condition("scaledobject", NAME, "Ready")
        async with scaled_to_zero(kube.within(KEDA), "keda-operator"):
            await firing.fires(within=180)
        await firing.resolves(within=180)


async def test_an_activator_that_holds_nearly_all_requests_it_may(
    alerts: ClusterMonitoring, node: Cluster, kube: Kube
) -> None:
    firing = alerts.expects(
        "SlipwayActivatorNearLimit",
        cause=f"{3 * LIMIT} requests of one client to a model that can't start. An activator holds {LIMIT} at most, "
        "and fewer of one client.",
        remedy="The clients give up.",
    )
    async with monitored_model(alerts, kube, at_zero()):
        await kube.wait_for_condition("scaledobject", NAME, "Ready")
        access = FromTheNode(kube, node.entered)
        async with access.session() as session:
            model = SleepingModel(kube, NAME, session, await access.url(NAME))
            requests = RequestGroup(model, [model.request(each) for each in range(3 * LIMIT)])
            try:
                await firing.fires()
            finally:
                await requests.cancel()
        await firing.resolves()
