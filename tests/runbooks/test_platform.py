"""Faults of the platform, the whole way: the model names the reason, and its runbook shows what is seen and heals it.

One after the other, since each breaks what all models depend on.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import NAME
from support.cluster import Kube, Object, Predicate, current_status, folder_claimed, own_namespace, until_settled
from support.faults.platform_faults import PLATFORM_FAULTS, PlatformFault, Scene
from support.pages.shell import Shell
from support.pages.walking import Walk, runbook

pytestmark = pytest.mark.slow

FAILS_WITHIN, HEALS_WITHIN = 240.0, 300.0
CLAIM, ANY_FOLDER = "weights", Path("/usr")
"""For engines that don't read it."""


@pytest.mark.parametrize("fault", PLATFORM_FAULTS, ids=lambda each: f"{each.page}-{each.provoked_as}")
async def test_the_runbook_says_what_one_sees_and_heals_it(
    fault: PlatformFault, node: Cluster, whole: Kube, shell: Shell
) -> None:
    async with own_namespace(whole) as kube, folder_claimed(kube, CLAIM, ANY_FOLDER):
        walk = Walk(runbook(fault.page), shell, {"NAMESPACE": kube.namespace, "NAME": NAME, **fault.values}, fault.words)
        try:
            await walked(walk, fault, Scene(kube, node))
        finally:
            await kube.run("delete", "llmdeployments", "--all")


async def walked(walk: Walk, fault: PlatformFault, scene: Scene) -> None:
    async with AsyncExitStack() as broken:
        if fault.before:
            await scene.kube.apply(*fault.objects())
            await until_settled(scene.kube, NAME, fault.healthy, timeout=HEALS_WITHIN)
        await broken.enter_async_context(fault.provoked(scene))
        if not fault.before:
            await scene.kube.apply(*fault.objects())
        await scene.kube.wait_for("llmdeployment", NAME, names(fault.named), timeout=FAILS_WITHIN)
        walk.saw(f"The status named {fault.named}.")
        for part in fault.parts:
            await walk.through(*part)
        started = time.monotonic()
        if any("Mitigation" in part for part in fault.parts):
            await heals(walk, fault, scene, started)
    if not any("Mitigation" in part for part in fault.parts):
        await heals(walk, fault, scene, started)
    walk.record()


async def heals(walk: Walk, fault: PlatformFault, scene: Scene, started: float) -> None:
    if fault.healthy == "gone":
        await scene.kube.wait_gone("llmdeployment", NAME, timeout=HEALS_WITHIN)
    else:
        await until_settled(scene.kube, NAME, fault.healthy, timeout=HEALS_WITHIN)
    walk.saw(f"{fault.healthy} {time.monotonic() - started:.0f} s after the remedy.")


def names(reason: str) -> Predicate:
    def names(thing: Object) -> bool:
        conditions = current_status(thing).get("conditions") or []
        return any(each["reason"] == reason for each in conditions)

    return names
