"""Two runbooks, walked with the operator as a process and without alerts; `make runbooks` walks all, with alerts."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.builders.llmdeployments import NAME
from support.cluster import Kube, Operator, folder_claimed, until_settled
from support.faults.runbook_faults import CLAIM, RUNBOOK_FAULTS, Given, RunbookFault, until_named
from support.pages.shell import Shell
from support.pages.walking import Walk, runbook

QUICK = [each for each in RUNBOOK_FAULTS if each.page in ("ModelNotFound", "ProfileMissing")]


@pytest.mark.parametrize("fault", QUICK, ids=lambda each: each.page)
async def test_the_runbook_says_what_one_sees_and_heals_it(
    slipway: Operator, kube: Kube, shell: Shell, models: Path, fault: RunbookFault
) -> None:
    values = {"NAMESPACE": kube.namespace, "NAME": NAME, **fault.values}
    walk = Walk(runbook(fault.page), shell, values, fault.words)
    async with folder_claimed(kube, CLAIM, models):
        await kube.apply(*fault.objects(Given("", "")))
        await until_named(kube, fault, timeout=60)
        await walk.through("Diagnosis")
        await walk.through(*fault.remedy)
        await until_settled(kube, NAME, fault.healthy)
