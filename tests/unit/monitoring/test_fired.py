"""Each alert was fired for real, which its stored notification proves, or is listed with the reason why it wasn't."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from slipway_monitoring.alerts import ALERTS
from support.builders.objects import Object
from support.monitoring.firing import FIRED, complaints_about
from support.monitoring.receiver import Notification

PROOFS = sorted(FIRED.glob("*.json"))
NOT_FIRED: dict[str, str] = yaml.safe_load((FIRED / "not-fired.yaml").read_text()) or {}


def test_every_alert_has_a_proof_or_a_reason_and_none_has_both() -> None:
    proved = {path.stem for path in PROOFS}
    assert proved | NOT_FIRED.keys() == {alert.name for alert in ALERTS}
    assert not proved & NOT_FIRED.keys()
    assert all(len(reason) > 20 for reason in NOT_FIRED.values())


@pytest.mark.parametrize("path", PROOFS, ids=lambda path: path.stem)
def test_a_proof_is_a_notification_that_a_person_could_use(path: Path) -> None:
    proof: Object = json.loads(path.read_text())
    notification = Notification(proof["firing"])
    assert notification.name == proof["alert"] == path.stem
    assert complaints_about(notification) == []
    assert proof["cause"]
    assert proof["remedy"]
    assert proof["resolved"]["endsAt"] > proof["firing"]["startsAt"]
