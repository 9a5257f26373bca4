"""When the ConfigMaps of a site's own models cause a reconcile of all models."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, cast

import pytest
import yaml
from slipway.models.site import site_of
from slipway.objects.kinds import CONFIG_MAP, Object
from slipway.operator.reconciling import site_models
from slipway.operator.reconciling.site_models import SiteModels
from support.builders.configs import LLAMA_3_1_8B
from support.builders.stored import kube_object

URI = "hf://acme/legal-8b"


class World:
    """The cache of ConfigMaps, and how often all models were queued."""

    def __init__(self) -> None:
        self.concerned = asyncio.Event()
        self.models = SiteModels("slipway-system", client=cast(Any, None), concern=self.concerned.set)
        self._store = self.models.watching.store
        self._version = 0

    def put(self, text: str) -> None:
        self._version += 1
        identity = {"uid": "1", "resourceVersion": str(self._version)}
        self._take(kube_object(CONFIG_MAP, "acme", "slipway-system", metadata=identity, data={"acme.yaml": text}))

    def _take(self, listed: Object) -> None:
        self._store.take(CONFIG_MAP, None, listed, now=0)
        self._store.compare(CONFIG_MAP, [listed], since=self._store.mark, now=0)
        self.models.changed()

    async def follows(self) -> None:
        """Until all models are queued."""
        async with asyncio.timeout(20):
            await self.concerned.wait()
        self.concerned.clear()


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(site_models, "SETTLES_IN", 0.01)
    made = World()
    following = asyncio.create_task(made.models.follow())
    yield made
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following


def text(*, name: str = "acme/legal-8b") -> str:
    return yaml.safe_dump({"models": [{"names": [name], "config": LLAMA_3_1_8B}]})


async def test_a_change_is_a_new_catalogue_and_concerns_all_models(world: World) -> None:
    before = world.models.catalogue
    assert before.find(URI) is None
    world.put(text())
    await world.follows()
    assert world.models.catalogue.find(URI)
    world.put(text(name="acme/other"))
    await world.follows()
    assert world.models.catalogue.find(URI) is None


async def test_a_mistake_is_logged_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        world.put("models: [{}]")
        await world.follows()
    [record] = caplog.records
    assert record.message.startswith("acme.yaml of the ConfigMap acme: model 1 is left out: names must be a list")


async def test_the_first_plans_wait_until_they_are_read(world: World) -> None:
    waiting = asyncio.create_task(world.models.until_read())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    world.put(text())
    async with asyncio.timeout(20):
        await waiting
    assert world.models.catalogue.find(URI)


async def test_plans_wait_for_a_while_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_models, "PATIENCE", 0.01)
    async with asyncio.timeout(20):
        await world.models.until_read()


async def test_a_failure_leaves_the_last_ones(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.put(text())
    await world.follows()

    failed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def fails_once(_: object) -> None:
        monkeypatch.setattr(site_models, "site_of", site_of)
        loop.call_soon_threadsafe(failed.set)
        raise ZeroDivisionError

    monkeypatch.setattr(site_models, "site_of", fails_once)
    world.put(text(name="acme/other"))
    async with asyncio.timeout(20):
        await failed.wait()
    assert world.models.catalogue.find(URI)
    world.put(text(name="acme/third"))
    await world.follows()
    assert world.models.catalogue.find("hf://acme/third")
    assert [record.message for record in caplog.records] == [
        "The ConfigMaps of models can't be read; please report this bug"
    ]
