"""Faults of the platform, the whole way: the model names the reason, and its runbook shows what is seen and heals it.

Those that break what all models depend on are walked one after the other.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import NAME
from support.cluster import Kube, Object, Predicate, current_status, folder_claimed, own_namespace, until_settled
from support.faults.platform_faults import PLATFORM_FAULTS, PlatformFault, Scene
from support.faults.runbook_faults import CLAIM
from support.pages.shell import Shell
from support.pages.walking import Walk, runbook
from support.repository import in_checkout

pytestmark = pytest.mark.slow

FAILS_WITHIN, HEALS_WITHIN = 240.0, 150.0


@pytest.fixture(autouse=True, scope="module")
def _charts(shell: Shell) -> None:
    in_checkout(shell.home)


def named(fault: PlatformFault) -> str:
    return f"{fault.page}-{fault.provoked_as}"


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, node: Cluster, whole: Kube, shell: Shell, models: Path, python_image: str
) -> dict[str, BaseException | None]:
    """How the walks ended that disturb no others, all of them at the same time."""
    chosen = [item.callspec.params.get("fault") for item in request.session.items if hasattr(item, "callspec")]
    faults = [each for each in PLATFORM_FAULTS if each in chosen and not each.alone]

    async def outcome(fault: PlatformFault) -> BaseException | None:
        try:
            await in_own_namespace(fault, node, whole, shell, models)
        except (Exception, AssertionError) as error:
            return error
        return None

    async def all_outcomes() -> list[BaseException | None]:
        return await asyncio.gather(*map(outcome, faults))

    return dict(zip(map(named, faults), asyncio.run(all_outcomes()), strict=True))


@pytest.mark.parametrize("fault", [each for each in PLATFORM_FAULTS if not each.alone], ids=named)
def test_the_runbook_says_what_one_sees_and_heals_it(
    fault: PlatformFault, outcomes: dict[str, BaseException | None]
) -> None:
    if error := outcomes[named(fault)]:
        raise error


@pytest.mark.parametrize("fault", [each for each in PLATFORM_FAULTS if each.alone], ids=named)
async def test_the_runbook_of_the_platform_says_what_one_sees_and_heals_it(
    fault: PlatformFault, node: Cluster, whole: Kube, shell: Shell, models: Path
) -> None:
    await in_own_namespace(fault, node, whole, shell, models)


async def in_own_namespace(fault: PlatformFault, node: Cluster, whole: Kube, shell: Shell, models: Path) -> None:
    async with (
        own_namespace(whole) as kube,
        folder_claimed(kube, "weights", models),
        folder_claimed(kube, CLAIM, models),
    ):
        values = {"NAMESPACE": kube.namespace, "NAME": NAME, **fault.values}
        walk = Walk(runbook(fault.page), shell, values, fault.words)
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
        await scene.kube.wait_for("llmdeployment", NAME, fault.seen or names(fault.named), timeout=FAILS_WITHIN)
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
