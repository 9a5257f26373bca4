"""What a reconcile remembers, how it sees its own writes, and how rarely it enters the module that applies."""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest
from slipway.kube.work_queue import RetryLaterError
from slipway.objects.kinds import (
    HORIZONTAL_POD_AUTOSCALER,
    LLM_DEPLOYMENT,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    SERVICE,
)
from slipway.operator.reconciling import applying
from support.builders.stored import CREATED, made_by_kserve
from support.fakes.api_server import KEY
from support.programs.operator_loop import Loop

MOST_ENTRIES = 4


async def entries(module: Any, reconcile: Awaitable[Any]) -> int:
    """Counts how often another module of Slipway calls into the module while the block runs."""
    counted = 0

    def count(frame: FrameType, event: str, _: Any) -> None:
        nonlocal counted
        if event == "call" and frame.f_code.co_filename == module.__file__:
            counted += _caller(frame) != module.__file__

    sys.setprofile(count)
    try:
        with suppress(RetryLaterError):
            await reconcile
    finally:
        sys.setprofile(None)
    return counted


def _caller(frame: FrameType) -> str:
    """Returns the nearest file of Slipway below the frame; a library may be in between."""
    below = frame.f_back
    while below and "/slipway/" not in below.f_code.co_filename:
        below = below.f_back
    return below.f_code.co_filename if below else ""


@pytest.mark.parametrize("case", ["new", "made", "steady", "changed", "child deleted", "wrong claim", "going", "gone"])
async def test_a_reconcile_enters_the_module_that_applies_at_most_four_times(loop: Loop, case: str) -> None:
    if case != "new":
        await loop.reconcile()
        loop.api.put(made_by_kserve())
    if case not in ("new", "made"):
        await loop.settle()
    match case:
        case "changed":
            loop.api.change(LLM_DEPLOYMENT, {"spec": {"engine": {"contextLength": 512}}, "metadata": {"generation": 2}})
        case "child deleted":
            loop.api.remove(NETWORK_POLICY)
        case "wrong claim":
            loop.api.remove(PERSISTENT_VOLUME_CLAIM, name="models")
        case "going":
            loop.api.change(LLM_DEPLOYMENT, {"metadata": {"deletionTimestamp": "2026-11-21T10:00:00Z"}})
        case "gone":
            loop.api.remove(LLM_DEPLOYMENT)
    loop.catch_up()
    counted = await entries(applying, loop.reconciler.reconcile(KEY))
    assert counted <= MOST_ENTRIES
    assert bool(counted) == (case not in ("going", "gone"))


async def test_the_next_reconcile_sees_the_writes_of_the_last_though_every_watch_lags(loop: Loop) -> None:
    loop.catch_up()
    await loop.reconciler.reconcile(KEY)
    assert loop.api.writes()[:3] == CREATED
    await loop.reconciler.reconcile(KEY)
    assert loop.api.writes() == []


async def test_the_next_reconcile_sees_a_delete_of_the_last_though_the_watch_lags(loop: Loop) -> None:
    await with_autoscaler(loop)
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"autoscaler": "None"}}, "metadata": {"generation": 2}})
    loop.silent.add(HORIZONTAL_POD_AUTOSCALER)
    await loop.reconcile()
    assert loop.api.writes().count("delete HorizontalPodAutoscaler") == 1
    assert loop.overlay.get(HORIZONTAL_POD_AUTOSCALER, "llama", "chat") is None
    await loop.reconcile()
    assert "delete HorizontalPodAutoscaler" not in loop.api.writes()


async def test_an_object_that_was_deleted_and_is_wanted_again_is_created_though_the_watch_lags(loop: Loop) -> None:
    await with_autoscaler(loop)
    loop.silent.add(HORIZONTAL_POD_AUTOSCALER)
    for generation, autoscaler in ((2, "None"), (3, "HPA")):
        spec = {"scaling": {"autoscaler": autoscaler}}
        loop.api.change(LLM_DEPLOYMENT, {"spec": spec, "metadata": {"generation": generation}})
        await loop.reconcile()
    assert [each for each in loop.api.writes() if each.endswith("Autoscaler")] == [
        "delete HorizontalPodAutoscaler",
        "apply HorizontalPodAutoscaler",
    ]


async def with_autoscaler(loop: Loop) -> None:
    scaling = {"autoscaler": "HPA", "minReplicas": 1, "maxReplicas": 3}
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": scaling}})
    loop.api.put(made_by_kserve(1))
    await loop.settle()
    assert loop.store.get(HORIZONTAL_POD_AUTOSCALER, "llama", "chat")


async def test_nothing_is_remembered_of_a_deleted_model(loop: Loop) -> None:
    loop.catch_up()
    loop.silent.add(SERVICE)  # no watch reports the writes
    for _ in range(2):
        await loop.reconciler.reconcile(KEY)
    assert len(loop.overlay) > 0
    loop.delete(LLM_DEPLOYMENT)
    await loop.reconciler.reconcile(KEY)
    assert (len(loop.memories), len(loop.overlay)) == (0, 0)
    assert loop.memories.by_state() == {}


async def test_a_new_leader_starts_without_any_memory(loop: Loop) -> None:
    await loop.settle()
    loop.take_over()
    assert (len(loop.memories), len(loop.overlay)) == (0, 0)
    await loop.reconcile()
    assert loop.api.writes()[:3] == CREATED  # it is applied once more, which changes nothing
    await loop.reconcile()
    assert loop.api.writes() == []
