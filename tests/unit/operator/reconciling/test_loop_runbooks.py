"""What a person sees of a fault leads to the runbook: the status, and the events."""

from __future__ import annotations

import pytest
from slipway.contract.runbooks import Runbooks
from slipway.objects.kinds import INFERENCE_SERVICE, LLM_DEPLOYMENT
from support.builders.stored import made_by_kserve
from support.programs.operator_loop import Loop, condition, status

REFUSED = (403, 'admission webhook "policy" denied the request: ' + "no, " * 500)


@pytest.fixture
def runbooks() -> Runbooks:
    return Runbooks("https://docs.example/{name}.html")


def notes(loop: Loop) -> list[tuple[str, str]]:
    events = [each.body for each in loop.api.requests if each.verb == "create" and each.body["kind"] == "Event"]
    return [(event["reason"], event["note"]) for event in events]


async def test_a_fault_leads_to_its_runbook_and_its_end_removes_the_link(loop: Loop) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"minReplicas": 1}}})
    loop.api.faults["apply Service"] = REFUSED
    await loop.failing_reconcile()
    assert status(loop)["runbook"] == "https://docs.example/AdmissionDenied.html"
    (reason, note) = notes(loop)[-1]
    assert (reason, note[-46:]) == ("AdmissionDenied", " See https://docs.example/AdmissionDenied.html")
    assert len(note.encode()) <= 1024
    loop.api.faults.clear()
    await loop.reconcile()
    assert "runbook" not in status(loop)


async def test_a_healthy_model_has_no_runbook(loop: Loop) -> None:
    await loop.reconcile()
    assert "runbook" not in status(loop)
    assert not [note for _, note in notes(loop) if "See http" in note]


async def test_a_paused_model_has_its_runbook_from_its_creation_on(loop: Loop) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"metadata": {"annotations": {"slipway.dev/paused": "true"}}})
    await loop.reconcile()
    assert condition(loop, "Ready")["reason"] == "Updating"
    assert status(loop)["runbook"] == "https://docs.example/Paused.html"
    loop.api.put(made_by_kserve(owner=loop.api.get(INFERENCE_SERVICE)))
    await loop.reconcile()
    assert condition(loop, "Ready")["reason"] == "Paused"
    assert status(loop)["runbook"] == "https://docs.example/Paused.html"
    assert [reason for reason, note in notes(loop) if "See http" in note] == ["Paused"]
