"""A bug that one object triggers stops only that object, and its status and events show the error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.builders.llmdeployments import at_zero
from support.cluster import AnyCluster, Kube, children, conditions, events_with, is_stalled, settled
from support.faults.rendering_bug import MESSAGE
from support.programs import operator

TESTS = Path(__file__).parents[1]


async def test_an_object_on_which_the_code_fails_is_stalled_with_the_error_and_others_continue(
    cluster: AnyCluster, installed_cluster: Kube, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    program = (sys.executable, "-m", "support.faults.rendering_bug", "poison")
    with operator.running(cluster.kubeconfig, program=program) as slipway:
        await kube.apply(at_zero("poison"))
        stalled = await kube.wait_for("llmdeployment", "poison", is_stalled("InternalError", f"KeyError: '{MESSAGE}'"))
        await settled(kube, at_zero("next"))
        assert conditions(stalled)["Ready"] == ("False", "InternalError")
        assert await children(kube, "poison") == {}
        assert await events_with(kube, "InternalError", "poison") == [("Warning", "InternalError")]
        slipway.says("Traceback", within=30)
        assert slipway.get("/livez")[0] == slipway.get("/readyz")[0] == 200
    with operator.running(cluster.kubeconfig):  # the next version, which doesn't have the bug
        await kube.wait_for("inferenceservice", "poison", lambda _: True)
