"""What the operator does about `spec.slo`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from slipway.objects.kinds import INFERENCE_SERVICE, LLM_DEPLOYMENT, POD
from slipway.observing.following import OF_NAMESPACE
from support.builders.stored import llm, made_by_kserve, pod
from support.fakes.api_server import KEY
from support.programs.operator_loop import Loop, status

OBJECTIVES = {"ttftP95": "500ms", "availability": "99.5%", "window": "168h"}


async def test_the_status_has_the_boundary_at_which_an_objective_is_counted(loop: Loop) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"slo": OBJECTIVES}})
    await loop.settle()
    assert status(loop)["slo"]["boundaries"] == {"ttftP95": "0.5"}


async def test_objectives_that_are_removed_are_gone_from_the_status(loop: Loop) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"slo": OBJECTIVES}})
    await loop.settle()
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"slo": None}})
    await loop.settle()
    assert "slo" not in status(loop)


async def test_changing_objectives_changes_no_pod(loop: Loop) -> None:
    await loop.settle()
    before = loop.api.get(INFERENCE_SERVICE)["spec"]
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"slo": OBJECTIVES}})
    await loop.settle()
    assert loop.api.get(INFERENCE_SERVICE)["spec"] == before


async def test_the_condition_says_which_times_the_replicas_follow_and_is_not_written_again(loop: Loop) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"target": {"ttftP95": "500ms"}}}})
    await loop.settle()
    (scaled,) = (each for each in status(loop)["conditions"] if each["type"] == "Scaled")
    assert scaled["message"].endswith("Their number follows ttftP95 500ms.")
    loop.api.requests.clear()
    await loop.reconcile()
    assert loop.api.requests == []


async def test_the_condition_says_if_too_many_older_models_follow_times(loop: Loop) -> None:
    follows = {"scaling": {"target": {"ttftP95": "500ms"}}}
    older = {**llm(**follows), "metadata": {**llm()["metadata"], "creationTimestamp": "2026-11-01T00:00:00Z"}}
    for number in range(OF_NAMESPACE):
        loop.api.put({**older, "metadata": {**older["metadata"], "name": f"older-{number}", "uid": f"{number}"}})
    loop.api.change(LLM_DEPLOYMENT, {"spec": follows})
    await loop.settle()
    (scaled,) = (each for each in status(loop)["conditions"] if each["type"] == "Scaled")
    assert scaled["message"].endswith(
        "Their number follows the requests in flight instead of ttftP95 500ms, because now only the 100 oldest models "
        "of a namespace follow times, and at most 500 in all."
    )


async def test_a_pod_of_an_older_version_takes_its_objective_out_of_the_metrics_until_it_is_gone(loop: Loop) -> None:
    running = {"name": "kserve-container", "state": {"running": {"startedAt": "2026-11-21T09:59:00Z"}}}
    loop.api.put(llm(scaling={"autoscaler": "None", "minReplicas": 1}, slo=OBJECTIVES))
    loop.api.put(made_by_kserve(1))
    loop.api.put({**pod(is_ready=True), "status": {"podIP": "10.0.0.7", "containerStatuses": [running]}})
    loop.infos["10.0.0.7"] = b"{}"
    await loop.settle()
    loop.pass_time(60)
    loop.usage.read_due()
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name().startswith("usage")))
    assert (KEY, 0) in loop.requeued
    await loop.settle()
    assert status(loop)["slo"]["uncounted"]["objectives"] == ["ttftP95"]
    assert objectives(loop) == {}
    loop.delete(POD, name="llama-predictor-1")
    await loop.settle()
    assert "uncounted" not in status(loop)["slo"]
    assert objectives(loop) == {"ttft": 0.5}


def objectives(loop: Loop) -> Mapping[str, float]:
    """As they are exposed."""
    figures = loop.reader.figures(KEY)
    assert figures
    assert figures.objectives
    return figures.objectives.boundaries
