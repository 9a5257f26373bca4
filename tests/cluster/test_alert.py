"""One alert, end to end: a model fails, Prometheus fires by the chart's own rules, a webhook is notified, and it ends.

`make alerts` does the same for all alerts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from slipway_devcluster.images import BASE_IMAGE, ensure_base_image
from slipway_monitoring.dashboards.filling import filled
from slipway_monitoring.dashboards.own_programs import OWN_PROGRAMS
from support.builders.llmdeployments import NAME, at_zero, own_runtime
from support.cluster import Kube, Settings, folder_claimed, until_settled
from support.cluster.releases import with_values
from support.faults.pod_failures import UNKNOWN_ARGUMENT, says_and_fails
from support.faults.scripted_models import scripted
from support.monitoring import programs
from support.monitoring.on_cluster import ClusterMonitoring, install_kinds, monitored, remove_kinds

ALERT = "SlipwayModelFailed"
VALUES = (
    "monitoring.podMonitor.enabled=true",
    "monitoring.rules.enabled=true",
    f"monitoring.rules.alerts.{ALERT}.for=0s",
)


@pytest.fixture
async def alerts(
    operator_pods: Cluster, neighbour_kube: Kube, settings: Settings, tmp_path: Path
) -> AsyncIterator[ClusterMonitoring]:
    """The cluster with the chart's PodMonitor and rules, and a Prometheus that follows them."""
    home = neighbour_kube.within(SLIPWAY_NAMESPACE)
    await install_kinds(home)
    async with with_values(operator_pods, home, *VALUES):
        with monitored(operator_pods, home, programs.ensure(settings.cache, settings.steps), tmp_path) as alerts:
            yield alerts
    await remove_kinds(home)


async def test_a_failed_model_is_reported_to_a_person_with_its_reason_and_a_runbook_until_it_is_repaired(
    alerts: ClusterMonitoring, operator_pods: Cluster, neighbour_kube: Kube, settings: Settings
) -> None:
    kube = neighbour_kube
    operator_pods.load_image(ensure_base_image(settings.cache, settings.steps))
    fails = own_runtime(
        image=BASE_IMAGE,
        command=says_and_fails(UNKNOWN_ARGUMENT),
        terminationMessagePolicy="FallbackToLogsOnError",
    )
    firing = alerts.expects(ALERT, cause="", remedy="", namespace=kube.namespace, llmdeployment=NAME)
    async with folder_claimed(kube, "weights", Path("/usr")), scripted(alerts, kube, fails):
        fired = await firing.fires()
        assert "BadEngineArguments" in str(fired.content)
        await kube.apply(own_runtime())
        await until_settled(kube, NAME, "Serving")
        await firing.resolves()


async def test_no_panel_about_slipways_own_programs_is_empty(alerts: ClusterMonitoring, neighbour_kube: Kube) -> None:
    """`make alerts` checks the panels of all dashboards, after a load."""
    kube = neighbour_kube
    await kube.apply(at_zero())  # KEDA asks the activator about it
    await kube.wait_for_condition("scaledobject", NAME, "Ready", timeout=60)
    await alerts.follow()
    await seen(alerts, "slipway_reconciles_total")
    await kube.apply(at_zero(scaling={"maxReplicas": 2}))  # a rate needs a reconcile between two scrapes
    for each in filled(OWN_PROGRAMS, namespace=".*"):
        if not each.query.healthy_empty:
            await seen(alerts, each.promql)
    await kube.delete("llmdeployment", NAME, wait=True)


async def seen(alerts: ClusterMonitoring, promql: str) -> None:
    await asyncio.to_thread(alerts.own.until_data, promql, within=60)
