"""The status of a profile is written when it says something new, on the leader alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.kube.errors import Call, InvalidError, NotFoundError, NotLeaderError
from slipway.objects.kinds import ACCELERATOR_PROFILE, Object
from slipway.operator.planning.supply import ProfileSupply, Supply
from slipway.operator.reconciling import profile_status
from slipway.operator.reconciling.profile_status import ProfileStatuses
from support.builders.llmdeployments import acceleratorprofile
from support.programs.operator_loop import Loop


class World:
    """The API server with its profiles, which the cache shows at once."""

    def __init__(self, *names: str) -> None:
        self.profiles = {name: acceleratorprofile(name) for name in names}
        self.supply = Supply(profiles={name: ProfileSupply(nodes=1, devices=8, free=3) for name in names})
        self.leads, self.writes, self.two, self.time = True, list[str](), asyncio.Event(), 0.0
        self.errors: dict[str, Exception] = {}  # by profile
        api: Any = self
        self.it = ProfileStatuses(
            api,
            api,
            supply=lambda: self.supply,
            profiles=self._parsed,
            is_ready=lambda: self.leads,
            clock=lambda: self.time,
        )

    def _parsed(self) -> list[AcceleratorProfile]:
        return [AcceleratorProfile.model_validate(each) for each in self.profiles.values()]

    def get(self, kind: Any, name: str) -> Object | None:
        assert kind is ACCELERATOR_PROFILE
        return self.profiles.get(name)

    async def apply_status(self, _: Any, manifest: Object) -> None:
        name = manifest["metadata"]["name"]
        self.writes.append(name)
        if len(self.writes) == 2:
            self.two.set()
        if error := self.errors.get(name):
            raise error
        self.profiles[name] = {**self.profiles[name], "status": manifest["status"]}


async def test_it_is_written_once() -> None:
    world = World("h100", "l4")
    await world.it.write()
    await world.it.write()
    assert world.writes == ["h100", "l4"]
    assert world.profiles["h100"]["status"]["devices"] == {"allocatable": 8, "free": 3, "mostOnANode": 0}


async def test_it_is_written_again_when_it_says_something_new() -> None:
    world = World("h100")
    await world.it.write()
    world.supply = Supply(profiles={"h100": ProfileSupply(nodes=2, devices=16, free=3)})
    await world.it.write()
    assert world.writes == ["h100", "h100"]


async def test_what_is_written_is_valid() -> None:
    world = World("h100")
    await world.it.write()
    [read] = world._parsed()
    assert read.status
    assert (read.status.nodes, read.status.devices and read.status.devices.free) == (1, 3)


async def test_another_replica_writes_nothing() -> None:
    world = World("h100")
    world.leads = False
    assert not await world.it.write()
    assert world.writes == []


async def test_nothing_is_written_where_nodes_are_unknown() -> None:
    world = World("h100")
    world.supply = Supply()
    await world.it.write()
    assert world.writes == []


CALL = Call("apply-status", "AcceleratorProfile", "a")


@pytest.mark.parametrize(
    "error",
    [NotFoundError(CALL, "not found", code=404), InvalidError(CALL, "invalid", code=422), ValueError("a bug")],
)
async def test_a_profile_whose_status_can_not_be_written_delays_no_other(error: Exception) -> None:
    world = World("a", "b")
    world.errors["a"] = error
    assert await world.it.write()
    assert world.writes == ["a", "b"]


async def test_a_refused_write_is_tried_again_later() -> None:
    world = World("a")
    world.errors["a"] = NotFoundError(CALL, "not found", code=404)
    await world.it.write()
    await world.it.write()
    assert world.writes == ["a"]
    world.time += profile_status.TRY_AGAIN_AFTER
    world.errors.clear()
    await world.it.write()
    assert world.profiles["a"]["status"]


async def test_a_lost_lease_ends_the_round_and_the_next_one_starts_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_status, "FIRST_AFTER", 0.0)
    monkeypatch.setattr(profile_status, "TRY_AGAIN_AFTER", 0.01)
    world = World("a")
    world.errors["a"] = NotLeaderError("another leads")
    running = asyncio.create_task(world.it.run())
    async with asyncio.timeout(5):
        await world.two.wait()
    running.cancel()


async def test_a_new_status_changes_no_profile_that_plans_are_made_from(loop: Loop) -> None:
    loop.catch_up()
    [before] = loop.reader.profiles()
    loop.api.change(ACCELERATOR_PROFILE, {"status": {"nodes": 3}}, namespace="", name="cpu")
    loop.catch_up()
    [after] = loop.reader.profiles()
    assert after is before
    loop.api.change(ACCELERATOR_PROFILE, {"spec": {"memory": "32Gi"}}, namespace="", name="cpu")
    loop.catch_up()
    [changed] = loop.reader.profiles()
    assert changed.spec.memory == "32Gi"
