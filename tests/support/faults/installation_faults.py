"""Faults of how Slipway is installed, each remedied by `helm upgrade`, and of a budget.

Those of the installation concern all models, so that they are walked one after the other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from slipway_devcluster.components import SLIPWAY_NAMESPACE

from support.builders.llmdeployments import at_zero
from support.builders.objects import Object
from support.cluster.kube import Kube
from support.cluster.llmdeployments import current_status, settled
from support.cluster.releases import RELEASE, helm, pods_of, rolled_out
from support.faults.platform_faults import ACTIVATOR, KEDA, PlatformFault, Scene, with_budget, with_objects
from support.repository import CHARTS

ROLE, GROUP = "slipway-operator", "serving.kserve.io"
READS = ("get", "list", "watch")
PORTS = 1000
"""The chart's own limit."""


@asynccontextmanager
async def without_free_ports(scene: Scene) -> AsyncGenerator[None]:
    """The namespace may have one model, and has it."""
    await _limit_ports(scene, 1)
    await settled(scene.kube, at_zero("first"))
    try:
        yield
    finally:
        await _limit_ports(scene, PORTS)


async def _limit_ports(scene: Scene, number: int) -> None:
    chart = str(CHARTS / "slipway")
    values = ("--reset-then-reuse-values", f"--set=operator.portsPerNamespace={number}")
    await helm(scene.cluster, "upgrade", *RELEASE, chart, *values)
    await rolled_out(scene.of(SLIPWAY_NAMESPACE))


@asynccontextmanager
async def without_right_to_create_models(scene: Scene) -> AsyncGenerator[None]:
    """Someone edits the operator's ClusterRole: InferenceServices can only be read."""
    before = await scene.kube.get("clusterrole", ROLE)
    await scene.kube.patch("clusterrole", ROLE, {"rules": [_only_read(rule) for rule in before["rules"]]})
    try:
        yield
    finally:
        await scene.kube.patch("clusterrole", ROLE, {"rules": before["rules"]})


def _only_read(rule: Object) -> Object:
    concerned = GROUP in rule["apiGroups"] and "inferenceservices" in rule["resources"]
    verbs = [verb for verb in rule["verbs"] if verb in READS]
    return {**rule, "verbs": verbs or ["get"]} if concerned else rule


@asynccontextmanager
async def with_another_namespace_for_keda(scene: Scene) -> AsyncGenerator[None]:
    """Someone edits the activator's Deployment: it answers pods of another namespace than KEDA's."""
    home = scene.of(SLIPWAY_NAMESPACE)
    older = await pods_of(home, ACTIVATOR[1])
    await _set_callers(home, "autoscaling")
    try:
        for pod in older:  # while they drain, they still answer
            await home.wait_gone("pod", pod, timeout=120)
        yield
    finally:
        await _set_callers(home, KEDA[0])


async def _set_callers(home: Kube, namespace: str) -> None:
    await home.run("set", "env", f"deployment/{ACTIVATOR[1]}", f"SLIPWAY_KEDA_NAMESPACE={namespace}")
    await rolled_out(home)


def refuses_without_replica(deployment: Object) -> bool:
    """A replica that is still there would go on serving once there is more money."""
    status = current_status(deployment)
    return bool(status.get("state") == "Idle" and "BudgetSpent" in str(status.get("conditions")))


INSTALLATION_FAULTS = (
    PlatformFault(
        "PermissionDenied",
        "The operator's ClusterRole is edited: InferenceServices can only be read.",
        without_right_to_create_models,
        before=False,
    ),
    PlatformFault(
        "PortsExhausted",
        "`operator.portsPerNamespace` of 1, and two models in a namespace.",
        without_free_ports,
        values={"PORTS": str(PORTS)},
        before=False,
    ),
    PlatformFault(
        "ScalerUnavailable",
        "The activator's Deployment is edited: it answers another namespace than KEDA's.",
        with_another_namespace_for_keda,
        values={"KEDA_NAMESPACE": KEDA[0]},
        before=False,
    ),
    PlatformFault(
        "BudgetSpent",
        "`budget.perDay` of 5 with `then: Refuse`, and a CPU that costs 3,600 per hour.",
        with_objects(),
        objects=lambda: with_budget("Refuse", 5),
        values={"AMOUNT": "1000000"},
        seen=refuses_without_replica,
        before=False,
        alone=False,
    ),
)
