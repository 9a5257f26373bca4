"""Faults of how Slipway is installed: its rights, its limits and its budget for ports. `helm upgrade` remedies each, so
that they are walked one after the other, and the release is rolled back at the end of each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from slipway_devcluster.components import SLIPWAY_NAMESPACE

from support.builders.llmdeployments import at_zero
from support.builders.objects import Object
from support.cluster.kube import Kube
from support.cluster.releases import pods_of, rolled_out, with_values
from support.faults.platform_faults import ACTIVATOR, KEDA, PlatformFault, Provoked, Scene, with_budget, with_objects

ROLE, GROUP = "slipway-operator", "serving.kserve.io"
READS = ("get", "list", "watch")


def with_chart_values(*sets: str, before: Sequence[Object] = ()) -> Provoked:
    """The chart has these values while the block lasts."""

    @asynccontextmanager
    async def block(scene: Scene) -> AsyncGenerator[None]:
        async with with_values(scene.cluster, scene.of(SLIPWAY_NAMESPACE), *sets, replaced=("slipway-operator",)):
            await scene.kube.apply(*before)
            yield

    return block


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
    await _set_callers(home, "autoscaling")
    try:
        yield
    finally:
        await _set_callers(home, KEDA[0])


async def _set_callers(home: Kube, namespace: str) -> None:
    older = await pods_of(home, ACTIVATOR[1])
    await home.run("set", "env", f"deployment/{ACTIVATOR[1]}", f"SLIPWAY_KEDA_NAMESPACE={namespace}")
    await rolled_out(home)
    for pod in older:
        await home.wait_gone("pod", pod, timeout=120)


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
        with_chart_values("operator.portsPerNamespace=1", before=[at_zero("first")]),
        values={"PORTS": "1000"},
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
        before=False,
        alone=False,
    ),
)
