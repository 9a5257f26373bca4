"""Runbooks of alerts about Slipway's own programs and what they need, walked on a devcluster."""

from __future__ import annotations

import pytest
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from support.builders.llmdeployments import NAME, at_zero
from support.cluster import FromTheNode, Kube
from support.faults.components import paused, scaled_to_zero
from support.faults.scripted_models import monitored_model
from support.load.sleeping_models import RequestGroup, SleepingModel
from support.monitoring.alert_walks import alert_walk
from support.monitoring.on_cluster import ClusterMonitoring
from support.pages.shell import Shell

pytestmark = pytest.mark.slow

KEDA = "keda"
LIMIT = 40
"""Of tests/alerts/values.yaml: requests that each of two activators holds."""


async def test_operator_without_leader(alerts: ClusterMonitoring, reader: Shell, kube: Kube) -> None:
    walk = alert_walk(
        alerts, reader, None, "SlipwayOperatorWithoutLeader", "The operator's Deployment is scaled to zero."
    )
    async with scaled_to_zero(kube.within(SLIPWAY_NAMESPACE), "slipway-operator"):
        await walk.fires()
        await walk.diagnoses("1. Do its pods run?")
        await walk.mitigates()
        await walk.ends()


async def test_operator_stale(alerts: ClusterMonitoring, node: Cluster, reader: Shell) -> None:
    fault = "The API server's process is stopped (SIGSTOP): connections stay open, and no watch sends anything."
    walk = alert_walk(alerts, reader, None, "SlipwayOperatorStale", fault)
    async with paused(node, "kube-apiserver"):
        await walk.fires(within=280)
        await walk.diagnoses("1. Which pod, and which kind?", "2. The API server")
    await walk.mitigates(by_test="The test let the process go on.")
    await walk.ends(within=150)


async def test_target_missing(alerts: ClusterMonitoring, reader: Shell, kube: Kube) -> None:
    walk = alert_walk(alerts, reader, None, "SlipwayTargetMissing", "The activator's Deployment is scaled to zero.")
    walk.values = {**walk.values, "NAMESPACE": kube.namespace}
    async with scaled_to_zero(kube.within(SLIPWAY_NAMESPACE), "slipway-activator"):
        await walk.fires()
        await walk.diagnoses("1. Is there a target, and what does it say?", "2. No target")
        await walk.mitigates()
        await walk.ends()


async def test_scaler_unreachable(alerts: ClusterMonitoring, reader: Shell, kube: Kube) -> None:
    fault = "KEDA's operator is scaled to zero while a model sleeps."
    walk = alert_walk(alerts, reader, kube, "SlipwayScalerUnreachable", fault, NAME=NAME, KEDA_NAMESPACE=KEDA)
    async with monitored_model(alerts, kube, at_zero()):
        await kube.wait_for_condition("scaledobject", NAME, "Ready")
        async with scaled_to_zero(kube.within(KEDA), "keda-operator"):
            await walk.fires(within=180)
            await walk.diagnoses("1. Which part is it?", "2. KEDA's programs")
            await walk.mitigates()
        await walk.ends(within=180)


async def test_activator_near_limit(alerts: ClusterMonitoring, node: Cluster, reader: Shell, kube: Kube) -> None:
    fault = f"{3 * LIMIT} requests of one client to a model that can't start. An activator holds {LIMIT} at most."
    walk = alert_walk(alerts, reader, None, "SlipwayActivatorNearLimit", fault)
    walk.values = {"NAMESPACE": kube.namespace, "NAME": NAME}
    async with monitored_model(alerts, kube, at_zero()):
        await kube.wait_for_condition("scaledobject", NAME, "Ready")
        access = FromTheNode(kube, node.entered)
        async with access.session() as session:
            model = SleepingModel(kube, NAME, session, await access.url(NAME))
            requests = RequestGroup(model, [model.request(each) for each in range(3 * LIMIT)])
            try:
                await walk.fires()
                await walk.diagnoses("1. Which limit?", "2. For which model?")
                await walk.mitigates(by_test="The test ended its requests.")
            finally:
                await requests.cancel()
        await walk.ends()
