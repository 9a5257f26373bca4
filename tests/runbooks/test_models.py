"""Faults of models, the whole way: the alert fires, its runbook leads to that of the reason, and this one heals it.

All faults that the selected tests need are provoked at the same time, each in a namespace of its own.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from support.builders.llmdeployments import NAME
from support.cluster import Kube, Object, Predicate, current_status, folder_claimed, own_namespace, until_settled
from support.faults.runbook_faults import CLAIM, RUNBOOK_FAULTS, RunbookFault
from support.monitoring.firing import Firing
from support.monitoring.on_cluster import ClusterMonitoring
from support.pages.shell import Shell
from support.pages.walking import Walk, runbook

pytestmark = pytest.mark.slow

AT_ONCE = 8
"""Most walks wait for the kubelet or for Prometheus."""

FAILS_WITHIN, HEALS_WITHIN = 180.0, 180.0
Outcomes = dict[str, BaseException | None]


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    alerts: ClusterMonitoring,
    whole: Kube,
    shell: Shell,
    models: Path,
    python_image: str,
) -> Outcomes:
    """How the walk of each fault ended that a selected test needs."""
    chosen = [item.callspec.params.get("fault") for item in request.session.items if hasattr(item, "callspec")]
    walkers = Walkers(alerts, whole, shell, models, python_image)
    return asyncio.run(walkers.walk_all([each for each in RUNBOOK_FAULTS if each in chosen]))


@pytest.mark.parametrize("fault", RUNBOOK_FAULTS, ids=lambda each: each.page)
def test_the_runbook_says_what_one_sees_and_heals_it(outcomes: Outcomes, fault: RunbookFault) -> None:
    if error := outcomes[fault.page]:
        raise error


class Walkers:
    """What all walks share."""

    def __init__(self, alerts: ClusterMonitoring, kube: Kube, shell: Shell, models: Path, image: str) -> None:
        self.alerts, self.kube, self.shell, self.models, self.image = alerts, kube, shell, models, image

    async def walk_all(self, faults: list[RunbookFault]) -> Outcomes:
        slots = asyncio.Semaphore(AT_ONCE)

        async def outcome(fault: RunbookFault) -> BaseException | None:
            async with slots, own_namespace(self.kube) as inside, folder_claimed(inside, CLAIM, self.models):
                try:
                    await self._walk(fault, inside)
                except (Exception, AssertionError) as error:
                    return error
                finally:
                    await inside.delete("llmdeployment", NAME, wait=True)
                return None

        found = await asyncio.gather(*map(outcome, faults))
        return dict(zip((each.page for each in faults), found, strict=True))

    async def _walk(self, fault: RunbookFault, kube: Kube) -> None:
        values = {"NAMESPACE": kube.namespace, "NAME": NAME, **fault.values}
        if "IMAGE" not in values:
            values["IMAGE"] = self.image
        walk = Walk(runbook(fault.page), self.shell, values, fault.words)
        firing = self._expected(fault, kube)
        await kube.apply(*fault.objects(self.image))
        await kube.wait_for("llmdeployment", NAME, names(fault.reason), timeout=FAILS_WITHIN)
        walk.saw(f"The status named {fault.reason}.")
        if firing:
            await self._from_alert_to_reason(firing, fault, walk)
        await walk.through("Diagnosis")
        if not fault.remedy:
            walk.saw("Its remedy needs what a devcluster has not.")
            return walk.record()
        started = time.monotonic()
        await walk.through(*fault.remedy)
        await until_settled(kube, NAME, fault.healthy, timeout=HEALS_WITHIN)
        walk.saw(f"{fault.healthy} {time.monotonic() - started:.0f} s after the remedy.")
        if firing:
            await firing.resolves()
            walk.saw("The alert ended.")
        walk.record()
        return None

    def _expected(self, fault: RunbookFault, kube: Kube) -> Firing | None:
        if not fault.alert:
            return None
        return self.alerts.expects(
            fault.alert, cause="", remedy="", namespace=kube.namespace, llmdeployment=NAME, reason=fault.reason
        )

    async def _from_alert_to_reason(self, firing: Firing, fault: RunbookFault, walk: Walk) -> None:
        """The alert's page must lead to that of the reason."""
        await firing.fires()
        first = Walk(runbook(fault.alert), self.shell, walk.values, fault.words)
        assert first.page.links_to(fault.page), f"{first.page.path.name} has no link to {fault.page}.md"
        walk.saw(f"{fault.alert} fired, and its runbook led here.")


def names(reason: str) -> Predicate:
    def names(thing: Object) -> bool:
        conditions = current_status(thing).get("conditions") or []
        return any(each["reason"] == reason for each in conditions)

    return names
