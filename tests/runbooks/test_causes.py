"""Causes outside the model, the whole way: the status names the reason, its runbook shows what is seen, and heals it.

Those of one namespace are walked at the same time, and then those of the installation one after the other.
"""

from __future__ import annotations

import asyncio

import pytest
from support.faults.fault_walks import FaultWalks, Outcomes, named
from support.faults.installation_faults import INSTALLATION_FAULTS
from support.faults.platform_faults import PlatformFault
from support.faults.pod_faults import POD_FAULTS

pytestmark = pytest.mark.slow

FAULTS = (*POD_FAULTS, *INSTALLATION_FAULTS)


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, walks: FaultWalks) -> Outcomes:
    chosen = [item.callspec.params.get("fault") for item in request.session.items if hasattr(item, "callspec")]
    return asyncio.run(walks.walk_all(each for each in FAULTS if each in chosen and not each.alone))


@pytest.mark.parametrize("fault", [each for each in FAULTS if not each.alone], ids=named)
def test_the_runbook_of_a_cause_says_what_one_sees_and_heals_it(fault: PlatformFault, outcomes: Outcomes) -> None:
    if error := outcomes[named(fault)]:
        raise error


@pytest.mark.parametrize("fault", [each for each in FAULTS if each.alone], ids=named)
async def test_the_runbook_of_an_installation_says_what_one_sees_and_heals_it(
    fault: PlatformFault, walks: FaultWalks
) -> None:
    await walks.walk(fault)
