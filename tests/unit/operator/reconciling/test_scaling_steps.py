"""An activator is asked once for each change of the number of replicas, and nothing waits for its response."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from slipway.api.model_key import ModelKey
from slipway.observing.scaling_step import PAGE, Followed, Step, as_status, followed_in, page_of
from slipway.operator.reconciling.pod_info import get_page
from slipway.operator.reconciling.scaling_steps import ScalingSteps
from slipway.process.management import ManagementPort
from slipway.process.metrics import MetricsRegistry

KEY, UID = ModelKey("chat", "llama"), "a-uid"
STEP = Step(1, 2, datetime(2026, 11, 21, 10, tzinfo=UTC))
SLOW = Followed("ttftP95", 0.93, 0.5)
KNOWS, KNOWS_NOTHING = page_of([(KEY, SLOW)]), page_of([])


class Activators:
    def __init__(self, **pages: bytes | None) -> None:
        self.pages, self.asked, self.changed = pages, list[str](), list[ModelKey]()
        self.steps = ScalingSteps(changed=self.changed.append, fetch=self._fetch)

    async def _fetch(self, address: str) -> bytes | None:
        self.asked.append(address)
        return self.pages[address]

    async def until_idle(self) -> None:
        asking = [each for each in asyncio.all_tasks() if each.get_name().startswith("scaling step")]
        await asyncio.gather(*asking, return_exceptions=True)


async def test_the_first_activator_that_knows_it_is_enough() -> None:
    them = Activators(a=None, b=KNOWS_NOTHING, c=KNOWS, d=KNOWS)
    them.steps.ask(KEY, UID, STEP, tuple(them.pages))
    assert them.steps.last(KEY, UID) is None
    await them.until_idle()
    assert (them.asked, them.changed) == (["a", "b", "c"], [KEY])
    assert them.steps.last(KEY, UID) == as_status(STEP, SLOW)


@pytest.mark.parametrize("pages", [{}, {"a": None}, {"a": KNOWS_NOTHING}], ids=["none", "silent", "unknown"])
async def test_without_a_measurement_the_step_is_reported_alone(pages: dict[str, bytes | None]) -> None:
    them = Activators(**pages)
    them.steps.ask(KEY, UID, STEP, tuple(pages))
    await them.until_idle()
    assert (them.steps.last(KEY, UID), them.changed) == (as_status(STEP, None), [KEY])


async def test_after_another_leader_nothing_is_known() -> None:
    them = Activators(a=KNOWS)
    them.steps.ask(KEY, UID, STEP, ["a"])
    await them.until_idle()
    them.steps.ask(KEY, UID, STEP, ["a"])
    them.steps.start_over()
    await them.until_idle()
    assert (them.steps.last(KEY, UID), them.changed) == (None, [KEY])


async def test_a_management_port_serves_such_a_page() -> None:
    pages = {PAGE: lambda: KNOWS}
    port = ManagementPort(metrics=MetricsRegistry(), live={}, ready={}, port=0, host="127.0.0.1", pages=pages)
    async with port.served() as number:
        page = await get_page("127.0.0.1", port=number, path=PAGE)
    assert page
    assert followed_in(page, KEY) == SLOW


async def test_what_was_seen_of_another_object_of_the_same_name_is_not_this_ones() -> None:
    them = Activators(a=KNOWS)
    them.steps.ask(KEY, UID, STEP, ["a"])
    await them.until_idle()
    assert them.steps.last(KEY, "the uid of the next one") is None
