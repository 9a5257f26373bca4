"""Models that go to sleep at the very moment when a request arrives."""

from __future__ import annotations

import asyncio
import random

import pytest
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import sleeping_model
from support.cluster import Kube
from support.fakes.sleep_scenarios import run_scenarios
from support.load.sleeping_models import PROMPTS, SHORT, Request, SleepingModel, sleeping_models

TIMINGS = 1000
MODELS, ROUNDS, REQUESTS = 5, 4, 3
"""On a cluster: models side by side, how often each falls asleep, and how many requests arrive at that time."""
EARLIEST, LATEST = 10.0, 24.0  # seconds from the last response until a model sleeps


@pytest.mark.timeout(900, func_only=True)
@pytest.mark.parametrize("operator_lag", [0.5, 60.0], ids=["with an operator", "while the operator is down"])
def test_every_request_gets_a_response_at_a_thousand_timings(chance: random.Random, operator_lag: float) -> None:
    """Cases in virtual time."""
    seeds = [chance.randrange(1 << 32) for _ in range(TIMINGS // 2)]
    moments = run_scenarios(seeds, operator_lag=operator_lag)
    assert moments["going to sleep"] > TIMINGS // 10


@pytest.mark.timeout(900, func_only=True)
async def test_every_request_gets_a_response_on_a_cluster_too(
    operator_pods: Cluster, gemma: Kube, chance: random.Random
) -> None:
    models = [sleeping_model(f"model-{each}", scaling={"idleAfter": "10s"}) for each in range(MODELS)]
    async with sleeping_models(operator_pods, gemma, *models) as sleeping:
        asked = await asyncio.gather(*(at_bedtime(each, random.Random(chance.random())) for each in sleeping))
        requests = [request for each in asked for request in each]
        texts = {number: await sleeping[0].direct_text(number, tokens=SHORT) for number in range(PROMPTS)}
    assert not [str(each) for each in requests if each.text != texts[each.number]]
    assert any(each.was_held for each in requests)


async def at_bedtime(model: SleepingModel, chance: random.Random) -> list[Request]:
    """Requests around the time when the model falls asleep, round by round: after the decision, or at any time."""
    requests: list[Request] = []
    for number in range(ROUNDS):
        await model.send(0)
        if number % 2:
            await model.until_replicas(0)
        else:
            await asyncio.sleep(chance.uniform(EARLIEST, LATEST))
        some = [model.request(each % PROMPTS) for each in range(REQUESTS)]
        await asyncio.gather(*(_ask(model, each, after=chance.uniform(0, 4)) for each in some))
        requests += some
    return requests


async def _ask(model: SleepingModel, request: Request, *, after: float) -> None:
    await asyncio.sleep(after)
    await request.run(model.session)
