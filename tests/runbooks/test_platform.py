"""Faults of the platform, the whole way: the model names the reason, and its runbook shows what is seen and heals it.

Those that break what all models depend on are walked one after the other.
"""

from __future__ import annotations

import asyncio

import pytest
from support.faults.fault_walks import FaultWalks, Outcomes, named
from support.faults.platform_faults import PLATFORM_FAULTS, PlatformFault

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, walks: FaultWalks) -> Outcomes:
    """How the walks ended that disturb no others, all of them at the same time."""
    chosen = [item.callspec.params.get("fault") for item in request.session.items if hasattr(item, "callspec")]
    return asyncio.run(walks.walk_all(each for each in PLATFORM_FAULTS if each in chosen and not each.alone))


@pytest.mark.parametrize("fault", [each for each in PLATFORM_FAULTS if not each.alone], ids=named)
def test_the_runbook_says_what_one_sees_and_heals_it(fault: PlatformFault, outcomes: Outcomes) -> None:
    if error := outcomes[named(fault)]:
        raise error


@pytest.mark.parametrize("fault", [each for each in PLATFORM_FAULTS if each.alone], ids=named)
async def test_the_runbook_of_the_platform_says_what_one_sees_and_heals_it(
    fault: PlatformFault, walks: FaultWalks
) -> None:
    await walks.walk(fault)
