"""A notification that a person on call couldn't use fails the test of its alert."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.monitoring import firing
from support.monitoring.firing import complaints_about
from support.monitoring.receiver import Notification

ANNOTATIONS = {
    "summary": "team/a failed",
    "description": "Its engine ended with exit code 1.",
    "runbook_url": "https://example.com/runbooks/SlipwayModelFailed.md",
}


@pytest.fixture(autouse=True)
def runbooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "SlipwayModelFailed.md").touch()
    monkeypatch.setattr(firing, "RUNBOOKS", tmp_path)


def notified(severity: str = "critical", **annotations: str) -> Notification:
    labels = {"alertname": "SlipwayModelFailed", "severity": severity}
    return Notification({"status": "firing", "labels": labels, "annotations": ANNOTATIONS | annotations})


def test_a_complete_notification_has_no_complaints() -> None:
    assert complaints_about(notified()) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (notified(summary=""), "summary is missing"),
        (notified(description="{{ $value requests wait"), "description has '{{'"),
        (notified(description="of <no value>"), "description has '<no value>'"),
        (notified(summary="%!f(string=a) s"), "summary has '%!'"),
        (notified(summary="NaN % of requests"), "summary has 'NaN'"),
        (notified(severity="page"), "severity is 'page'"),
        (notified(runbook_url="https://example.com/runbooks/SlipwayOther.md"), "doesn't lead to a file"),
    ],
)
def test_what_is_missing_or_not_rendered_is_named(given: Notification, words: str) -> None:
    [complaint] = complaints_about(given)
    assert words in complaint
