"""What engines have measured is read once for each load, and no model keeps others from being measured."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from slipway.api.model_key import ModelKey
from slipway.observing.compile_report import CompileReport
from slipway.observing.measured import Load, Measurement, Reading
from slipway.operator.reconciling import measuring
from slipway.operator.reconciling.measuring import Measuring

KEY, PLAN = ModelKey("chat", "llama"), "0123456789abcdef"
MEASURED = json.dumps({"measured": {"kvTokens": 7}}).encode()
NOT_YET = b'{"measured": null}'


def load(number: int = 1) -> Load:
    return Load("pod-1", "uid", f"2026-11-21T10:00:{number:02}Z", f"10.0.0.{number}", PLAN)


class Pods:
    """Responses in their order, the last one again and again; None: there is none."""

    def __init__(self, *responses: bytes | None) -> None:
        self.responses, self.addresses = list(responses), list[str]()

    async def __call__(self, address: str) -> bytes | None:
        self.addresses.append(address)
        return self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]


class Models:
    """Those that changed, and the Measuring that says so."""

    def __init__(self, fetch: Callable[[str], Awaitable[bytes | None]], *, tries: int = 4) -> None:
        self.changed: asyncio.Queue[ModelKey] = asyncio.Queue()
        self.measuring = Measuring(changed=self.changed.put_nowait, fetch=fetch, pauses=(0.0,) * tries)

    async def until_changed(self) -> ModelKey:
        async with asyncio.timeout(10):
            return await self.changed.get()

    async def until_idle(self) -> None:
        reading = [task for task in asyncio.all_tasks() if task.get_name().startswith("measuring")]
        await asyncio.gather(*reading, return_exceptions=True)


async def test_a_load_is_read_once_and_then_known() -> None:
    pods = Pods(MEASURED)
    models = Models(pods)
    assert models.measuring.measurement(KEY, load()) is None
    assert await models.until_changed() == KEY
    for _ in range(3):
        assert models.measuring.measurement(KEY, load()) == Measurement(load(), Reading(kv_tokens=7))
    await models.until_idle()
    assert pods.addresses == ["10.0.0.1"]


async def test_it_is_read_again_while_nothing_is_measured_yet() -> None:
    pods = Pods(None, NOT_YET, MEASURED)
    models = Models(pods)
    models.measuring.measurement(KEY, load())
    await models.until_changed()
    assert len(pods.addresses) == 3


async def test_it_is_read_again_until_it_is_known_what_became_of_the_compile_cache() -> None:
    filling, filled = (
        json.dumps({"measured": {"kvTokens": 7}, "compileCache": {"state": state, "reason": ""}}).encode()
        for state in ("Filling", "Filled")
    )
    pods = Pods(filling, filling, filled)
    models = Models(pods)
    models.measuring.measurement(KEY, load())
    await models.until_idle()
    assert (models.changed.qsize(), len(pods.addresses)) == (2, 3)
    found = models.measuring.measurement(KEY, load())
    assert found
    assert found.compiled == CompileReport(state="Filled")


async def test_a_pod_that_never_reports_is_given_up_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    pods = Pods(b"nonsense")
    models = Models(pods, tries=3)
    for _ in range(5):
        assert models.measuring.measurement(KEY, load()) is None
        await models.until_idle()
    assert len(pods.addresses) == 3
    [record] = caplog.records
    assert record.getMessage() == (
        "Pod pod-1 at 10.0.0.1 doesn't report what its engine measured, so the plan isn't compared with it"
    )


async def test_a_newer_load_is_read_in_place_of_an_older_one() -> None:
    began, forever, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def fetch(address: str) -> bytes | None:
        if address == "10.0.0.1":
            began.set()
            try:
                await forever.wait()
            finally:
                ended.set()
        return MEASURED

    models = Models(fetch)
    models.measuring.measurement(KEY, load(1))
    await began.wait()
    models.measuring.measurement(KEY, load(2))
    await models.until_changed()
    await ended.wait()
    found = models.measuring.measurement(KEY, load(2))
    assert found is not None
    assert found.load == load(2)


async def test_nothing_is_read_of_a_model_without_a_new_load() -> None:
    pods = Pods(MEASURED)
    models = Models(pods)
    models.measuring.measurement(KEY, load())
    assert models.measuring.measurement(KEY, None) is None
    await models.until_idle()
    assert pods.addresses == []


async def test_the_slow_pods_of_a_namespace_take_some_places_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "AT_ONCE", 6)
    at_once, most, forever = 0, 0, asyncio.Event()

    async def fetch(address: str) -> bytes | None:
        nonlocal at_once, most
        if address == "10.0.0.9":
            return MEASURED
        at_once += 1
        most = max(most, at_once)
        await forever.wait()
        return None

    models = Models(fetch)
    for number in range(100):
        models.measuring.measurement(ModelKey("hostile", f"model-{number}"), load())
    models.measuring.measurement(KEY, load(9))
    assert await models.until_changed() == KEY
    assert most == measuring.OF_A_NAMESPACE
    for number in range(100):
        models.measuring.forget(ModelKey("hostile", f"model-{number}"))


async def test_the_end_of_the_program_ends_all_reading() -> None:
    forever = asyncio.Event()

    async def fetch(_: str) -> bytes | None:
        await forever.wait()
        return None

    models = Models(fetch)
    running = asyncio.create_task(models.measuring.run())
    models.measuring.measurement(KEY, load())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await models.until_idle()
