"""What the operator does about `spec.slo`."""

from __future__ import annotations

from slipway.objects.kinds import INFERENCE_SERVICE, LLM_DEPLOYMENT
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
