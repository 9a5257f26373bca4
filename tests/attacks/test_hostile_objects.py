"""What a tenant writes into objects of their own costs nobody else anything: no loop ends, and no memory is filled."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from slipway.activator import knowledge as looking
from slipway.activator.asking import Target
from slipway.activator.demand import Demand, Deployment
from slipway.activator.deployments import Deployments, Known
from slipway.activator.gate import Gate
from slipway.activator.holding import House
from slipway.activator.knowledge import Knowledge
from slipway.activator.waking import retry_after
from slipway.api.reasons import Reason
from slipway.kube.kinds import ENDPOINT_SLICE, LLM_DEPLOYMENT, POD, SERVICE, Object
from slipway.kube.store import Store
from slipway.observing.observation import observe
from slipway.observing.phases import length_of
from slipway.observing.status import same, status_of
from slipway.observing.world import WorldView
from slipway.planning import Unplannable
from support import falling_asleep as model
from support.falling_asleep import LLAMA
from support.hostile import statuses

TRAP = Deployment("evil", "llama")


class Nobody:
    """Is asked nothing."""

    def follow(self, _: Deployment, targets: Iterable[Target]) -> None:
        pass


class Activator:
    """What it knows of two models, up to what KEDA is told; a tenant may write whatever they like into one of them."""

    def __init__(self) -> None:
        self.store, self.known = Store([LLM_DEPLOYMENT, SERVICE, POD, ENDPOINT_SLICE]), Deployments()
        self.demand, self._gates, self._versions = Demand(), dict[Deployment, Gate](), count(1)
        self.knowledge = Knowledge(
            self.store, self.known, port_of=lambda _: 20123, now=lambda: model.BEGIN, clock=lambda: 0.0
        )
        self.knowledge.greeting = self.knowledge.scraping = Nobody()  # type: ignore[assignment]
        self.known.listen(self._hear)

    def _hear(self, deployment: Deployment, known: Known | None) -> None:
        if known is None:
            if gate := self._gates.pop(deployment, None):
                gate.close()
        elif gate := self._gates.get(deployment):
            gate.tell(known)
        else:
            self._gates[deployment] = Gate(known, House(), self.demand)

    def write(
        self, deployment: Deployment, kind: Any = LLM_DEPLOYMENT, thing: Object | None = None, **more: Any
    ) -> None:
        thing = thing or model.deployment()
        metadata = {
            **thing["metadata"],
            "namespace": deployment.namespace,
            "resourceVersion": str(next(self._versions)),
        }
        self.store.take(kind, "MODIFIED", {**thing, **more, "metadata": metadata}, now=0)

    def knows(self, deployment: Deployment) -> bool:
        return self.known.of(deployment) is not None


@pytest.fixture
async def activator(monkeypatch: pytest.MonkeyPatch) -> Activator:
    monkeypatch.setattr(model, "version", lambda: "1")
    return Activator()


# --- what ends a loop ------------------------------------------------------------------------------------------------

STATUSES = {
    "a phase that is no duration": {"lastColdStart": {"load": "soon"}},
    "a phase without end": {"lastColdStart": {"load": f"{'9' * 400}h"}},
    "fewer requests than none": {"plan": {"maxConcurrency": -1}},
    "more requests than there are": {"plan": {"maxConcurrency": 2**62}},
    "a time before all times": {
        "conditions": [
            {"type": "Ready", "status": "False", "reason": "x", "lastTransitionTime": "0000-01-01T00:00:00Z"}
        ]
    },
}


@pytest.mark.parametrize("status", STATUSES.values(), ids=STATUSES)
async def test_whatever_a_status_says_its_model_and_those_of_others_are_served(
    activator: Activator, status: Object
) -> None:
    activator.write(TRAP, status=status)
    activator.write(LLAMA)
    activator.knowledge.look_at_all()
    assert activator.knows(LLAMA)
    known = activator.known.of(TRAP)
    assert known
    assert 1 <= known.target_per_replica <= 4096
    assert math.isfinite(known.expected_wake or 0)
    assert math.isfinite(known.limits.timeout)


@settings(max_examples=100, deadline=None)
@given(status=statuses())
def test_no_status_that_the_crd_lets_in_is_more_than_the_activator_can_read(status: Object) -> None:
    async def look() -> None:
        activator = Activator()
        activator.write(TRAP, thing=ASLEEP, status=status)
        activator.knowledge.look_at_all()
        known = activator.known.of(TRAP)
        assert known
        assert retry_after(known.expected_wake or 0, elapsed=0) <= 7 * 86_400

    asyncio.run(look())


@settings(max_examples=100, deadline=None)
@given(status=statuses())
def test_no_status_that_the_crd_lets_in_keeps_the_operator_from_writing_a_true_one(status: Object) -> None:
    seen = observe(None, WorldView(now=model.BEGIN))
    told = status_of(1, NO_PLAN, seen, status, model.BEGIN)
    assert told["state"] == "Failed"
    assert length_of(told.get("lastColdStart") or {}) is not None
    assert same(told, status_of(1, NO_PLAN, seen, told, model.BEGIN))


NO_PLAN = Unplannable(Reason.INVALID_SPEC, "the spec can't be read")
ASLEEP: Object = {
    "metadata": {"name": LLAMA.name, "namespace": LLAMA.namespace, "uid": "1", "generation": 1},
    "spec": {"model": {"uri": "pvc://m/"}},
}

SPECS = {
    "a limit that is no number": {"scaling": {"hold": {"maxBytes": "64e4294967302"}}},
    "a size that is no number": {"model": {"uri": "pvc://m/", "facts": {"weights": "1e999999999999999999999"}}},
    "no model": {"model": None},
    "a list for an object": {"model": {"uri": "pvc://m/"}, "engine": ["vllm"]},
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
async def test_whatever_a_spec_says_others_are_served(activator: Activator, spec: Object) -> None:
    activator.write(TRAP, spec={**model.deployment()["spec"], **spec})
    activator.write(LLAMA)
    activator.knowledge.look_at_all()
    assert activator.knows(LLAMA)


async def test_one_that_the_activator_fails_at_is_told_once_and_known_again_when_it_can_be_read(
    activator: Activator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "LOOK_AGAIN_AFTER", 0.01)
    activator.write(TRAP)
    activator.knowledge.look_at_all()
    activator.write(TRAP, spec={"model": 7})
    activator.write(LLAMA)
    activator.knowledge.look_at_all()
    assert (activator.knows(TRAP), activator.knows(LLAMA)) == (False, True)
    keeps_looking = asyncio.create_task(activator.knowledge.keep_looking())
    await asyncio.sleep(0.1)
    assert not keeps_looking.done()
    told = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert [(each.__dict__["key"], each.levelname) for each in told] == [("evil/llama", "ERROR")]
    activator.write(TRAP)
    activator.knowledge.look(TRAP)
    assert activator.knows(TRAP)
    keeps_looking.cancel()
