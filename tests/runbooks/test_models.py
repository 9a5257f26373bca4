"""Faults of models, the whole way: the alert fires, its runbook leads to that of the reason, and this one heals it.

All faults that the selected tests need are provoked at the same time, each in a namespace of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.builders.llmdeployments import NAME
from support.cluster import Kube, Object, current_status, folder_claimed, own_namespace, until_settled
from support.faults.runbook_faults import CLAIM, RUNBOOK_FAULTS, Given, RunbookFault, until_named
from support.monitoring.firing import Firing
from support.monitoring.on_cluster import ClusterMonitoring
from support.pages.markdown import Page
from support.pages.placeholders import Values
from support.pages.shell import Shell
from support.pages.walking import Walk, runbook

pytestmark = pytest.mark.slow

AT_ONCE = 6
"""Most walks wait for the kubelet or for Prometheus."""

FAILS_WITHIN, HEALS_WITHIN = 180.0, 180.0
Outcomes = dict[str, Exception | None]


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    alerts: ClusterMonitoring,
    downloader: None,
    whole: Kube,
    shell: Shell,
    models: Path,
    given: Given,
) -> Outcomes:
    """How the walk of each fault ended that a selected test needs."""
    chosen = [item.callspec.params.get("fault") for item in request.session.items if hasattr(item, "callspec")]
    walkers = Walkers(alerts, whole, shell, models, given)
    return asyncio.run(walkers.walk_all([each for each in RUNBOOK_FAULTS if each in chosen]))


@pytest.mark.parametrize("fault", RUNBOOK_FAULTS, ids=lambda each: each.page)
def test_the_runbook_says_what_one_sees_and_heals_it(outcomes: Outcomes, fault: RunbookFault) -> None:
    if error := outcomes[fault.page]:
        raise error


class Walkers:
    """What all walks share."""

    def __init__(self, alerts: ClusterMonitoring, kube: Kube, shell: Shell, models: Path, given: Given) -> None:
        self.alerts, self.kube, self.shell, self.models, self.given = alerts, kube, shell, models, given

    async def walk_all(self, faults: list[RunbookFault]) -> Outcomes:
        slots = asyncio.Semaphore(AT_ONCE)

        async def outcome(fault: RunbookFault) -> Exception | None:
            async with slots, own_namespace(self.kube) as inside, folder_claimed(inside, CLAIM, self.models):
                try:
                    await self._walk(fault, inside)
                except Exception as error:
                    return error
                finally:
                    await inside.delete("llmdeployment", NAME, wait=True)
                    for profile in (each for each in fault.objects(self.given) if each["kind"] == "AcceleratorProfile"):
                        await inside.delete("acceleratorprofile", profile["metadata"]["name"])
                return None

        found = await asyncio.gather(*map(outcome, faults))
        return dict(zip((each.page for each in faults), found, strict=True))

    async def _walk(self, fault: RunbookFault, kube: Kube) -> None:
        values: Values = {**self.given.values, "NAMESPACE": kube.namespace, "NODE": self._node_in(kube), **fault.values}
        walk = Walk(runbook(fault.page), self.shell, values, fault.words)
        firing = self._expected(fault, kube)
        await kube.apply(*fault.objects(self.given))
        thing = await until_named(kube, fault, timeout=FAILS_WITHIN)
        if fault.alert:
            assert_links_to(fault.page, thing)
        walk.saw(f"The status named {fault.reason}.")
        if firing:
            await self._from_alert_to_reason(firing, fault, walk)
        await walk.through(fault.diagnosis)
        if fault.remedy:
            await self._remedied(fault, kube, walk, firing)
        else:
            walk.saw("Its remedy needs what a devcluster doesn't have.")
        walk.record()

    async def _remedied(self, fault: RunbookFault, kube: Kube, walk: Walk, firing: Firing | None) -> None:
        started = time.monotonic()
        await walk.through(*fault.remedy)
        await until_settled(kube, NAME, fault.healthy, timeout=HEALS_WITHIN)
        walk.saw(f"{fault.healthy} {time.monotonic() - started:.0f} s after the remedy.")
        if firing:
            await firing.resolves()
            walk.saw("The alert ended.")

    def _node_in(self, kube: Kube) -> Callable[[], str]:
        command = f"kubectl get pods -n {kube.namespace} -o jsonpath='{{.items[0].spec.nodeName}}'"
        return lambda: self.shell.run(command).lines[0]

    def _expected(self, fault: RunbookFault, kube: Kube) -> Firing | None:
        if not fault.alert:
            return None
        return self.alerts.expects(fault.alert, cause="", remedy="", namespace=kube.namespace, llmdeployment=NAME)

    async def _from_alert_to_reason(self, firing: Firing, fault: RunbookFault, walk: Walk) -> None:
        """The alert must name the reason, and its page must lead to that of the reason."""
        summary = (await firing.fires()).annotations["summary"]
        assert any(each in summary for each in (fault.reason, fault.before) if each), summary
        assert leads_to(runbook(fault.alert), fault.page), f"{fault.alert}.md doesn't lead to {fault.page}.md"
        walk.saw(f"{fault.alert} fired, and its runbook led here.")


def leads_to(page: Page, name: str) -> bool:
    """Whether a link of it leads to that page, or to one whose link does."""
    others = (target for target in page.runbooks if target != page.name)
    return name in page.runbooks or any(name in runbook(each).runbooks for each in others)


def assert_links_to(page: str, thing: Object) -> None:
    url = str(current_status(thing).get("runbook"))
    assert url.rpartition("/")[2] == f"{page}.html", f"status.runbook is {url}, and not a link to {page}"
