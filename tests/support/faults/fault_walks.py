"""Faults of platform_faults and pod_faults, walked: the model names the reason, its runbook shows what is seen, and the
model is healthy again after the remedy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from slipway_devcluster.cluster import Cluster

from support.builders.llmdeployments import NAME
from support.builders.objects import Object
from support.cluster.kube import Kube, Predicate
from support.cluster.llmdeployments import current_status, until_settled
from support.cluster.namespaces import own_namespace
from support.cluster.volumes import folder_claimed
from support.faults.platform_faults import PlatformFault, Scene
from support.faults.runbook_faults import CLAIM
from support.pages.shell import Shell
from support.pages.walking import Walk, runbook

FAILS_WITHIN, HEALS_WITHIN = 240.0, 150.0
Outcomes = dict[str, BaseException | None]
"""By the name of a fault: the error of its walk, if it had one."""


@dataclass(frozen=True)
class FaultWalks:
    """What all walks share: the cluster, a reader's shell, a folder of models, and an image with Python."""

    node: Cluster
    kube: Kube
    shell: Shell
    models: Path
    image: str

    async def walk_all(self, faults: Iterable[PlatformFault]) -> Outcomes:
        """Walks all of them at the same time; they mustn't disturb each other."""
        chosen = list(faults)
        found = await asyncio.gather(*map(self.walk, chosen), return_exceptions=True)
        return dict(zip(map(named, chosen), found, strict=True))

    async def walk(self, fault: PlatformFault) -> None:
        async with (
            own_namespace(self.kube) as kube,
            folder_claimed(kube, "weights", self.models),
            folder_claimed(kube, CLAIM, self.models),
        ):
            values = {"NAMESPACE": kube.namespace, "NAME": NAME, **fault.values}
            walk = Walk(runbook(fault.page), self.shell, values, fault.words)
            try:
                await _walked(walk, fault, Scene(kube, self.node, self.image))
            finally:
                await kube.run("delete", "llmdeployments", "--all")


def named(fault: PlatformFault) -> str:
    return f"{fault.page}-{fault.provoked_as}"


async def _walked(walk: Walk, fault: PlatformFault, scene: Scene) -> None:
    async with AsyncExitStack() as broken:
        if fault.before:
            await scene.kube.apply(*fault.objects())
            await until_settled(scene.kube, NAME, fault.at_first or fault.healthy, timeout=HEALS_WITHIN)
        found = await broken.enter_async_context(fault.provoked(scene))
        walk.values = {**walk.values, **(found if isinstance(found, Mapping) else {})}
        if not fault.before:
            await scene.kube.apply(*fault.objects())
        await scene.kube.wait_for("llmdeployment", NAME, fault.seen or names(fault.named), timeout=FAILS_WITHIN)
        walk.saw(f"The status named {fault.named}.")
        for part in fault.parts:
            await walk.through(*part)
        started = time.monotonic()
        if any("Mitigation" in part for part in fault.parts):
            await _heals(walk, fault, scene, started)
    if not any("Mitigation" in part for part in fault.parts):
        await _heals(walk, fault, scene, started)
    walk.record()


async def _heals(walk: Walk, fault: PlatformFault, scene: Scene, started: float) -> None:
    if fault.healthy == "gone":
        await scene.kube.wait_gone("llmdeployment", NAME, timeout=HEALS_WITHIN)
    else:
        await until_settled(scene.kube, NAME, fault.healthy, timeout=HEALS_WITHIN)
    walk.saw(f"{fault.healthy} {time.monotonic() - started:.0f} s after the remedy.")


def names(reason: str) -> Predicate:
    """A predicate: whether a condition of the model has this reason."""

    def names(thing: Object) -> bool:
        conditions = current_status(thing).get("conditions") or []
        return any(each["reason"] == reason for each in conditions)

    return names
