"""A model whose pods find no node moves to a profile that has free devices; one that has a node never does."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    INFERENCE_SERVICE,
    POD,
    Object,
)
from slipway.operator.planning import Supply
from slipway.operator.planning.supply import ProfileSupply
from slipway.operator.reconciling.planned import PATIENCE
from support.builders.models import FACTS_OF_LLAMA_8B
from support.builders.stored import kube_object, llm, made_by_kserve, pod
from support.programs.operator_loop import INSTALLATION, NOW, Loop, state_and_reason, status

RUNTIME = {"supportedModelFormats": [{"name": "huggingface"}], "containers": [{"name": "kserve-container"}]}
FACTS = {**FACTS_OF_LLAMA_8B, "contextLength": 8192}
SOON, LATER = NOW + PATIENCE - timedelta(seconds=1), NOW + PATIENCE
VENDORS = {"first": "NVIDIA", "second": "AMD", "third": "NVIDIA"}
WAITS: Object = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available",
}
WAITS["lastTransitionTime"] = "2026-11-21T10:00:00Z"


def free(read_at: datetime | None = None, **counts: int) -> Supply:
    return Supply(
        {
            name: ProfileSupply(nodes=1, devices=1, most_on_a_node=1, free=count, most_free_on_a_node=count)
            for name, count in counts.items()
        },
        read_at=read_at.timestamp() if read_at else None,
    )


class Place:
    """A model that may run on three profiles, in their order; at first, all have a free device."""

    def __init__(self, loop: Loop) -> None:
        self.loop, self.outdated = loop, 0
        self.supply = free(first=1, second=1, third=1)
        loop.reconciler = replace(loop.reconciler, supply=lambda: self.supply, outdated=self._count)
        for name, vendor in VENDORS.items():
            spec = {"vendor": vendor, "resource": {"name": "example.com/gpu"}, "memory": "80Gi"}
            loop.api.put(kube_object(ACCELERATOR_PROFILE, name, spec=spec))
        for name in ("slipway-vllm-cuda", "slipway-vllm-rocm"):
            loop.api.put(kube_object(CLUSTER_SERVING_RUNTIME, name, spec=RUNTIME))
        loop.api.put(
            llm(
                model={"uri": "pvc://models/llama", "facts": FACTS},
                engine={"name": "vllm", "contextLength": 4096},
                accelerator={"profiles": list(VENDORS), "policy": "InOrder"},
                scaling={"autoscaler": "None", "minReplicas": 1},
            )
        )
        loop.api.put(made_by_kserve(1))

    def upgraded(self) -> None:
        """A newer version of Slipway takes over, with runtimes of its own."""
        names = {name: f"{name}-2" for name in ("slipway-vllm-cuda", "slipway-vllm-rocm")}
        runtimes = {name: kube_object(CLUSTER_SERVING_RUNTIME, newer, spec=RUNTIME) for name, newer in names.items()}
        for each in runtimes.values():
            self.loop.api.put(each)
        newer = Loop(installation=replace(INSTALLATION, version="2", runtimes=runtimes), api=self.loop.api)
        newer.api.missing, newer.time = self.loop.api.missing, self.loop.time
        newer.reconciler = replace(newer.reconciler, supply=lambda: self.supply, outdated=self._count)
        self.loop = newer

    def _count(self) -> None:
        self.outdated += 1

    @property
    def planned(self) -> str:
        found: str = status(self.loop)["plan"]["accelerator"]
        return found

    @property
    def runtime(self) -> str:
        found: str = self.loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"]["model"]["runtime"]
        return found

    async def with_pod(self, scheduled: Object | None = None, **further: Any) -> None:
        made = pod(is_ready=False)
        conditions = [*made["status"]["conditions"], *([scheduled] if scheduled else [])]
        made["status"] = {"conditions": conditions, **further}
        self.loop.api.put(made)
        await self.loop.settle()


@pytest.fixture
async def place(loop: Loop) -> Place:
    place = Place(loop)
    await loop.settle()
    assert place.planned == "first"
    return place


@pytest.mark.parametrize(
    ("left", "chosen", "runtime"),
    [
        ({"first": 0, "second": 1, "third": 1}, "second", "slipway-vllm-rocm"),
        ({"first": 0, "second": 0, "third": 1}, "third", "slipway-vllm-cuda"),
    ],
)
async def test_a_model_whose_pods_find_no_node_moves_to_the_next_profile_with_a_free_device(
    place: Place, left: dict[str, int], chosen: str, runtime: str
) -> None:
    await place.with_pod(WAITS)
    assert state_and_reason(place.loop)[1] == "Unschedulable"
    assert place.planned == "first"  # as far as is known, a device is free there
    place.supply = free(LATER, **left)
    await place.loop.settle()
    assert (place.planned, place.runtime) == (chosen, runtime)


async def test_a_pod_without_a_place_is_a_reason_to_count_again_once(place: Place) -> None:
    await place.with_pod(WAITS)
    await place.loop.settle()
    assert place.outdated == 1


async def test_a_model_stays_where_it_waits_if_nothing_is_free_elsewhere(place: Place) -> None:
    await place.with_pod(WAITS)
    place.supply = free(LATER, first=0, second=0, third=0)
    await place.loop.settle()
    assert place.planned == "first"


async def test_after_an_upgrade_a_model_whose_pods_find_no_node_moves_too(place: Place) -> None:
    """They never ran, so that nothing is restarted by it."""
    await place.with_pod(WAITS)
    place.upgraded()
    await place.loop.settle()
    assert (place.planned, place.runtime) == ("first", "slipway-vllm-cuda"), "a device is free, as far as is known"
    place.supply = free(LATER, first=0, second=1, third=1)
    await place.loop.settle()
    assert (place.planned, place.runtime) == ("second", "slipway-vllm-rocm-2")
    assert status(place.loop)["made"]["version"] == "2"


async def test_after_an_upgrade_pods_that_wait_stay_as_they_are_if_they_have_no_better_place(place: Place) -> None:
    await place.with_pod(WAITS)
    before = place.loop.api.get(INFERENCE_SERVICE)
    place.upgraded()
    place.supply = free(LATER, first=0, second=0, third=0)
    await place.loop.settle()
    assert place.loop.api.get(INFERENCE_SERVICE) == before


async def test_after_an_upgrade_a_model_with_a_pod_on_a_node_stays(place: Place) -> None:
    await place.with_pod(WAITS)
    there = pod(is_ready=True)
    there["metadata"]["name"], there["spec"]["nodeName"] = "llama-predictor-2", "a"
    place.loop.api.put(there)
    before = place.loop.api.get(INFERENCE_SERVICE)
    place.upgraded()
    place.supply = free(LATER, first=0, second=1, third=1)
    await place.loop.settle()
    assert place.loop.api.get(INFERENCE_SERVICE) == before


@pytest.mark.parametrize(
    ("scheduled", "further"),
    [
        (None, {}),
        ({**WAITS, "reason": "SchedulingGated"}, {}),
        (WAITS, {"nominatedNodeName": "a"}),
    ],
    ids=["the scheduler hasn't seen it yet", "it waits in a queue", "the scheduler makes room for it"],
)
async def test_a_pod_that_may_still_get_its_node_keeps_the_model_there(
    place: Place, scheduled: Object | None, further: dict[str, Any]
) -> None:
    await place.with_pod(scheduled, **further)
    place.supply = free(LATER, first=0, second=1, third=1)
    await place.loop.settle()
    assert place.planned == "first"


async def test_a_model_with_one_pod_on_a_node_stays_although_another_pod_waits(place: Place) -> None:
    await place.with_pod(WAITS)
    there = pod(is_ready=True)
    there["metadata"]["name"], there["spec"]["nodeName"] = "llama-predictor-2", "a"
    place.loop.api.put(there)
    place.supply = free(LATER, first=0, second=1, third=1)
    await place.loop.settle()
    assert place.planned == "first"
    assert place.loop.api.get(POD, name="llama-predictor-2")


async def test_a_model_whose_only_pod_is_replaced_stays_until_its_device_is_free_again(place: Place) -> None:
    """While the old pod is there, and until what it held has been counted again, the new one finds no place."""
    await place.with_pod(None)
    old = pod(is_ready=True)
    old["spec"]["nodeName"] = "a"
    place.loop.api.put(old)
    await place.loop.settle()
    place.loop.time = LATER  # the old pod has taken that long to end
    place.supply = free(LATER, first=0, second=1, third=1)
    await place.with_pod(WAITS)
    assert place.planned == "first"
    place.loop.time = LATER + PATIENCE
    await place.loop.settle()
    assert place.planned == "first"
    place.supply = free(LATER + PATIENCE, first=0, second=1, third=1)
    await place.loop.settle()
    assert place.planned == "second"


async def test_a_model_that_finds_no_place_is_planned_again_when_it_may_move(place: Place) -> None:
    await place.with_pod(WAITS)
    place.supply = free(SOON, first=0, second=1, third=1)
    place.loop.time = SOON
    assert await place.loop.reconcile() == 5.0
    assert (place.planned, place.outdated) == ("first", 1)
    place.loop.time = LATER
    assert await place.loop.reconcile() == 5.0
    assert (place.planned, place.outdated) == ("first", 2)  # what is free is read again
    place.supply = free(LATER, first=0, second=1, third=1)
    await place.loop.settle()
    assert place.planned == "second"
