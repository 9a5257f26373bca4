"""Running pods are read about once a minute, and no pod, however it behaves, keeps others from being read."""

from __future__ import annotations

import asyncio
import json

from slipway.api.model_key import ModelKey
from slipway.observing.ledger import Use
from slipway.observing.usage import RunningPod
from slipway.operator.reconciling.rooms import OF_A_NAMESPACE
from slipway.operator.reconciling.usage_polling import UsagePolling

LLAMA, EVIL = ModelKey("chat", "llama"), ModelKey("evil", "llama")
POD = RunningPod("uid-a", "10.0.0.1", is_leaving=False)


def info(busy: float = 1.0, accepted: int | None = None) -> bytes:
    drafts = {} if accepted is None else {"drafts": 1000, "draftTokens": 4000, "acceptedTokens": accepted}
    return json.dumps({"usage": {"busySeconds": busy, **({"speculative": drafts} if drafts else {})}}).encode()


class Scene:
    """A poller whose clock the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.answers: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.uses: list[tuple[ModelKey, str, Use | None]] = []
        self.changed: list[ModelKey] = []
        self.polling = UsagePolling(
            on_use=lambda key, uid, use: self.uses.append((key, uid, use)),
            changed=self.changed.append,
            fetch=self._fetch,
            clock=lambda: self.now,
        )

    async def _fetch(self, address: str) -> bytes | None:
        self.asked.append(address)
        if address.startswith("6."):
            await asyncio.sleep(3600)  # it never responds
        return self.answers.get(address)

    async def until(self, seconds: float) -> None:
        while self.now < seconds:
            self.now += 1
            self.polling.read_due()
            for _ in range(5):
                await asyncio.sleep(0)


async def test_a_pod_is_read_within_the_first_minute_and_then_once_a_minute() -> None:
    scene = Scene()
    scene.answers["10.0.0.1"] = info(2.5)
    scene.polling.follow(LLAMA, [POD])
    await scene.until(60)
    assert scene.uses == [(LLAMA, "uid-a", Use(2.5, 0, 0))]
    await scene.until(60 + 10 * 60)
    assert len(scene.uses) == 11


async def test_a_pod_that_starts_to_drain_is_read_at_once() -> None:
    scene = Scene()
    scene.answers["10.0.0.1"] = info()
    scene.polling.follow(LLAMA, [POD])
    await scene.until(70)
    scene.polling.follow(LLAMA, [POD._replace(is_leaving=True)])
    before = len(scene.uses)
    await scene.until(71)
    assert len(scene.uses) == before + 1


async def test_reconciles_in_between_delay_no_reading() -> None:
    scene = Scene()
    scene.answers["10.0.0.1"] = info()
    for second in range(120):
        scene.polling.follow(LLAMA, [POD])
        await scene.until(second + 1)
    assert len(scene.uses) == 2


async def test_a_pod_that_is_gone_is_read_no_more() -> None:
    scene = Scene()
    scene.answers["10.0.0.1"] = info()
    scene.polling.follow(LLAMA, [POD])
    scene.polling.follow(LLAMA, [])
    await scene.until(200)
    assert scene.asked == []


async def test_pods_that_never_respond_hold_up_only_their_own_namespace() -> None:
    scene = Scene()
    scene.answers["10.0.0.1"] = info()
    scene.polling.follow(EVIL, [RunningPod(f"evil-{n}", f"6.0.0.{n}", is_leaving=False) for n in range(200)])
    scene.polling.follow(LLAMA, [POD])
    await scene.until(600)
    assert len(scene.uses) == 10
    assert len([each for each in scene.asked if each.startswith("6.")]) == OF_A_NAMESPACE
    scene.polling.start_over()


async def test_a_pod_that_sends_nonsense_is_read_again_a_minute_later() -> None:
    scene = Scene()
    scene.answers["10.0.0.1"] = b"<html>"
    scene.polling.follow(LLAMA, [POD])
    await scene.until(61)
    scene.answers["10.0.0.1"] = info()
    await scene.until(122)
    assert len(scene.uses) == 1


async def test_another_band_of_speculative_decoding_asks_for_a_reconcile_once() -> None:
    scene = Scene()
    scene.answers["10.0.0.1"] = info(accepted=3000)
    scene.polling.follow(LLAMA, [POD])
    await scene.until(300)
    assert scene.changed == [LLAMA]
    assert scene.polling.drafts(LLAMA).acceptance == 75.0


async def test_a_runtime_that_reports_no_use_is_recorded_and_asks_for_a_reconcile_once() -> None:
    scene = Scene()
    scene.answers["10.0.0.1"] = b'{"state": "Ready"}'
    scene.polling.follow(LLAMA, [POD])
    await scene.until(200)
    assert set(scene.uses) == {(LLAMA, "uid-a", None)}
    assert scene.changed == [LLAMA]


async def test_boundaries_ask_for_a_reconcile_once_where_there_are_objectives() -> None:
    scene = Scene()
    scene.answers["10.0.0.1"] = info()
    scene.polling.follow(LLAMA, [POD], has_objectives=True)
    assert scene.polling.boundaries(LLAMA) == {}
    await scene.until(200)
    assert scene.polling.boundaries(LLAMA) == {"uid-a": {}}
    assert scene.changed == [LLAMA]


async def test_without_objectives_boundaries_cost_no_reconcile() -> None:
    scene = Scene()
    scene.answers["10.0.0.1"] = info()
    scene.polling.follow(LLAMA, [POD])
    await scene.until(200)
    assert scene.changed == []
