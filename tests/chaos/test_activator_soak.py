"""Random requests for three models that sleep and wake, under random faults: no request is lost, and nothing leaks.

--soak-minutes sets the duration, and --seed repeats the same random choices.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from slipway.api.names import activator_slice_name
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import sleeping_model
from support.cluster import Kube, KubectlError, Object, is_ready
from support.faults.slipway_pods import PodFaults
from support.load.random_arrivals import RandomArrivals
from support.load.sleeping_models import SleepingModel, sleeping_models
from support.waiting import until

logger = logging.getLogger(__name__)

LONGEST = 3 * 60 * 60
MODELS = 3
BREAKS_CONNECTIONS = "kill_activator", "delete_slice"
"""The faults that may break a client's connection, so that it must retry; no other fault may."""
RULES_LAG = 15.0  # seconds after such a fault during which iptables may still route to a pod that is gone
MORE_MEGABYTES, MORE_FILES = 24, 12


class Faults:
    """Drawn one after the other; none repeats before each has been drawn."""

    def __init__(
        self, breaking: PodFaults, models: list[SleepingModel], chance: random.Random, witness: Object
    ) -> None:
        self._breaking, self._models, self._chance, self._witness = breaking, models, chance, witness
        self._deck: list[Callable[[], Awaitable[None]]] = []
        self.breaks: list[tuple[float, float]] = []
        self.counted: Counter[str] = Counter()

    async def go_on(self, *, until: float) -> None:
        while time.monotonic() < until:
            if not self._deck:
                self._deck = [
                    self.kill_leader, self.kill_keda, self.kill_activator, self.restart_api_server,
                    self.delete_scaled_object, self.delete_slice, self.scale_to_zero, self.kill_loading_pods,
                    self.evict, self.roll_out,
                ]  # fmt: skip
                self._chance.shuffle(self._deck)
            await self._one(self._deck.pop())
            await asyncio.sleep(self._chance.uniform(2, 15))

    async def _one(self, fault: Callable[[], Awaitable[None]]) -> None:
        start, name = time.monotonic(), fault.__name__
        logger.warning("%s", name)
        self.counted[name] += 1
        try:
            await fault()
        except KubectlError as error:
            logger.warning("%s was injected too late or too early: %s", name, error)
        if name in BREAKS_CONNECTIONS:
            self.breaks.append((start, time.monotonic() + RULES_LAG))

    def excuses(self, since: float, ended: float) -> bool:
        """Whether a fault that breaks connections has been injected meanwhile."""
        return any(since <= end and start <= ended for start, end in self.breaks)

    def _any(self) -> SleepingModel:
        return self._chance.choice(self._models)

    async def kill_leader(self) -> None:
        await self._breaking.kill(await self._breaking.leader())

    async def kill_keda(self) -> None:
        await self._breaking.kill(await self._breaking.keda())

    async def kill_activator(self) -> None:
        """Any activator except the measured one."""
        for pod in await self._breaking.activators():
            if pod["metadata"]["uid"] != self._witness["metadata"]["uid"]:
                await self._breaking.kill(pod)

    async def restart_api_server(self) -> None:
        await self._breaking.restart_api_server(seconds=self._chance.uniform(0, 5))

    async def delete_scaled_object(self) -> None:
        await self._breaking.delete_scaled_object(self._any())

    async def delete_slice(self) -> None:
        await self._breaking.delete_slice(self._any())

    async def scale_to_zero(self) -> None:
        await self._breaking.scale_to_zero(self._any())

    async def kill_loading_pods(self) -> None:
        for model in self._models:
            for pod in await model.kube.select("pods", model.selector):
                if not is_ready(pod):
                    await self._breaking.kill(pod)

    async def evict(self) -> None:
        for pod in await self._breaking.kube.select("pods", "slipway.dev/llmdeployment"):
            await self._breaking.evict(pod)

    async def roll_out(self) -> None:
        await self._any().change(engine={"contextLength": self._chance.randrange(512, 1024)})


@pytest.mark.timeout(LONGEST, func_only=True)
async def test_no_request_is_lost_and_nothing_leaks_under_random_faults(
    operator_pods: Cluster, gemma: Kube, chance: random.Random, pytestconfig: pytest.Config
) -> None:
    models = [sleeping_model(f"model-{each}", scaling={"idleAfter": "10s"}) for each in range(MODELS)]
    breaking = PodFaults(operator_pods, gemma)
    [witness, *_] = await breaking.activators()
    async with sleeping_models(operator_pods, gemma, *models) as sleeping:
        await asyncio.gather(*(each.send(0) for each in sleeping))
        await all_asleep(gemma, sleeping)
        before = await breaking.use(witness)
        arrivals = [RandomArrivals(each, random.Random(chance.random())) for each in sleeping]
        faults = Faults(breaking, sleeping, random.Random(chance.random()), witness)
        ends_at = time.monotonic() + 60 * pytestconfig.getoption("soak_minutes")
        await asyncio.gather(faults.go_on(until=ends_at), *(each.run(until=ends_at) for each in arrivals))
        log_summary(arrivals, faults)
        assert not [line for each in arrivals for line in each.lost()]
        retried = [each for group in arrivals for each in group.retried()]
        assert not [str(each) for each in retried if not faults.excuses(each.sent, each.ended)]
        assert not [line for each in arrivals for line in await each.wrong()]
        await all_asleep(gemma, sleeping)
        after = await breaking.use(witness)
        logger.warning("the activator that was not killed: %s, then %s", before, after)
        assert after.megabytes - before.megabytes < MORE_MEGABYTES
        assert after.files - before.files < MORE_FILES
        slices = await gemma.select("endpointslices", "endpointslice.kubernetes.io/managed-by=slipway")
        assert [each["metadata"]["name"] for each in slices] == [activator_slice_name(each.name) for each in sleeping]


async def all_asleep(kube: Kube, models: list[SleepingModel]) -> None:
    async def are_gone() -> bool:
        return not await kube.select("pods", "slipway.dev/llmdeployment")

    await until(are_gone, timeout=300)


def log_summary(arrivals: list[RandomArrivals], faults: Faults) -> None:
    requests = [each for group in arrivals for each in group.requests]
    logger.warning(
        "%d requests, %d of them through an activator, %d retried; faults: %s",
        len(requests),
        sum(each.was_held for each in requests),
        sum(each.tries > 1 for each in requests),
        dict(faults.counted),
    )
