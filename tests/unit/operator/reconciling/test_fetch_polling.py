"""While a model's files arrive, its oldest pod is asked how far it is; what is shown changes only now and then."""

from __future__ import annotations

import asyncio
import json

from slipway.api.model_key import ModelKey
from slipway.observing.fetching import FetchingPod
from slipway.operator.reconciling.fetch_polling import SHOWN_EVERY, FetchPolling
from slipway.operator.reconciling.rooms import OF_A_NAMESPACE

LLAMA, EVIL = ModelKey("chat", "llama"), ModelKey("evil", "llama")
POD = FetchingPod("uid-a", "llama-a", "10.0.0.1")


def info(arrived: int) -> bytes:
    return json.dumps({"fetch": {"bytes": arrived, "total": 1000, "bytesPerSecond": 10}}).encode()


class Scene:
    """A poller whose clock the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.arrived = 0
        self.asked: list[str] = []
        self.changed: list[ModelKey] = []
        self.polling = FetchPolling(changed=self.changed.append, fetch=self._fetch, clock=lambda: self.now)

    async def _fetch(self, address: str) -> bytes | None:
        self.asked.append(address)
        if address.startswith("6."):
            await asyncio.sleep(3600)  # it never responds
        return info(self.arrived)

    async def pass_by(self, seconds: int, *, arriving: int = 0) -> None:
        for _ in range(seconds):
            self.now += 1
            self.arrived += arriving
            self.polling.ask_due()
            for _ in range(8):
                await asyncio.sleep(0)


async def test_it_is_asked_every_two_seconds_and_shown_every_five() -> None:
    scene = Scene()
    assert scene.polling.follow(LLAMA, [POD]) is None
    await scene.pass_by(60, arriving=10)
    assert len(scene.asked) == 30
    assert 10 <= len(scene.changed) <= 60 / SHOWN_EVERY
    shown = scene.polling.follow(LLAMA, [POD])
    assert shown is not None
    assert 0 < shown.bytes <= 600


async def test_while_nothing_arrives_nothing_is_written() -> None:
    scene = Scene()
    scene.polling.follow(LLAMA, [POD])
    await scene.pass_by(60)
    assert scene.changed == [LLAMA], "the first answer is news"


async def test_only_the_oldest_pod_is_asked_and_none_once_it_has_its_files() -> None:
    scene = Scene()
    younger = FetchingPod("uid-b", "llama-b", "10.0.0.2")
    scene.polling.follow(LLAMA, [POD, younger])
    await scene.pass_by(4)
    assert {*scene.asked} == {POD.address}
    scene.polling.follow(LLAMA, [younger])
    await scene.pass_by(4)
    assert scene.asked[-1] == younger.address
    before = len(scene.asked)
    assert scene.polling.follow(LLAMA, []) is None
    await scene.pass_by(10)
    assert len(scene.asked) == before


async def test_another_pod_starts_from_nothing() -> None:
    scene = Scene()
    scene.polling.follow(LLAMA, [POD])
    await scene.pass_by(3, arriving=10)
    assert scene.polling.follow(LLAMA, [POD])
    assert scene.polling.follow(LLAMA, [FetchingPod("uid-b", "llama-b", "10.0.0.2")]) is None


async def test_pods_that_never_respond_delay_only_their_own_namespace() -> None:
    scene = Scene()
    for number in range(OF_A_NAMESPACE * 3):
        key = ModelKey(EVIL.namespace, f"llama-{number}")
        scene.polling.follow(key, [FetchingPod(f"uid-{number}", "x", f"6.0.0.{number}")])
    scene.polling.follow(LLAMA, [POD])
    await scene.pass_by(4, arriving=10)
    assert LLAMA in scene.changed
    assert len([each for each in scene.asked if each.startswith("6.")]) == OF_A_NAMESPACE
    scene.polling.start_over()
