"""Polling of a deployment's replicas starts a few at a time: there may be a thousand new ones at the same moment."""

from __future__ import annotations

import asyncio

from slipway.activator.tracking.poller import AT_ONCE, PAUSE, Poller, PollTarget
from slipway.api.model_key import ModelKey
from support.fakes import virtual_time

LLAMA, GEMMA = ModelKey("chat", "llama"), ModelKey("chat", "gemma")


class Polled(Poller):
    def __init__(self) -> None:
        super().__init__(timeout=1)
        self.now: list[PollTarget] = []  # the polled replicas

    async def _poll(self, target: PollTarget) -> None:
        self.now.append(target)
        try:
            await asyncio.Event().wait()
        finally:
            self.now.remove(target)


def replicas(number: int, deployment: ModelKey = LLAMA) -> list[PollTarget]:
    return [PollTarget(deployment, f"{each}", f"10.0.0.{each}", 8080) for each in range(number)]


def test_polling_of_a_thousand_new_replicas_starts_a_few_at_a_time() -> None:
    async def run() -> None:
        polled = Polled()
        polled.follow(LLAMA, replicas(1000))
        for turn in range(1, 1000 // AT_ONCE):
            await asyncio.sleep(PAUSE / 2)
            assert len(polled.now) <= turn * AT_ONCE
            await asyncio.sleep(PAUSE / 2)
        await asyncio.sleep(1)
        assert len(polled.now) == 1000
        await polled.close()

    virtual_time.run(run())


def test_a_few_are_polled_immediately_however_many_another_deployment_has() -> None:
    async def run() -> None:
        polled = Polled()
        polled.follow(LLAMA, replicas(1000))
        polled.follow(GEMMA, replicas(AT_ONCE, GEMMA))
        for _ in range(2):
            await asyncio.sleep(0)
        assert {*replicas(AT_ONCE, GEMMA)} <= {*polled.now}
        await polled.close()

    virtual_time.run(run())


def test_replicas_that_are_gone_are_no_longer_polled_and_others_are() -> None:
    async def run() -> None:
        polled = Polled()
        polled.follow(LLAMA, replicas(3))
        polled.follow(GEMMA, replicas(1, GEMMA))
        await asyncio.sleep(1)
        polled.follow(LLAMA, replicas(1))
        await asyncio.sleep(1)
        assert {*polled.now} == {*replicas(1), *replicas(1, GEMMA)}
        polled.follow(LLAMA, ())
        await asyncio.sleep(1)
        assert polled.now == replicas(1, GEMMA)
        await polled.close()
        assert polled.now == []

    virtual_time.run(run())
