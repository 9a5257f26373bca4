"""For which of its reasons a status links to a runbook."""

from __future__ import annotations

import pytest
from slipway.contract.runbooks import Runbooks
from slipway.objects.kinds import Object
from slipway.observing.events import with_runbook

HERE = Runbooks("https://docs.example/{name}")


def status(state: str, **conditions: str) -> Object:
    """The conditions as in ready="False Paused"."""
    found = {type_: words.split() for type_, words in conditions.items()}
    listed = [{"type": type_, "status": holds, "reason": reason} for type_, (holds, reason) in found.items()]
    return {"state": state, "conditions": listed}


@pytest.mark.parametrize(
    ("found", "page"),
    [
        (status("Serving", Ready="True Serving", Scaled="True AsWanted"), ""),
        (status("Serving", Ready="True Serving", Scaled="False Scaling"), ""),
        (status("Idle", Ready="Unknown Updating", Scaled="False Paused", Reachable="False NotReady"), "Paused"),
        (status("Idle", Ready="False Paused", Scaled="False Paused"), "Paused"),
        (status("Serving", Ready="True Serving", Scaled="False Paused"), "Paused"),
        (status("Idle", Ready="True ScaledToZero", Scaled="False ScalerUnavailable"), "ScalerUnavailable"),
        (status("Serving", Ready="True Serving", WithinBudget="False BudgetSpent"), "BudgetSpent"),
        (status("Serving", Ready="True Serving", WithinBudget="True BudgetNearlySpent"), "BudgetNearlySpent"),
        (status("Serving", Ready="True Serving", WithinBudget="Unknown PriceUnknown"), "PriceUnknown"),
        (status("Serving", Ready="True Serving", WithinBudget="True WithinBudget"), ""),
        (status("Failed", Ready="False ModelNotFound", Scaled="False Paused"), "ModelNotFound"),
        (status("Degraded", Ready="True Serving", Reconciling="True KedaDown", Scaled="False Paused"), "KedaDown"),
        (status("Degraded", Ready="True Serving", Stalled="True NameTaken", Scaled="False Paused"), "NameTaken"),
    ],
)
def test_the_most_important_reason_that_has_a_runbook_is_linked(found: Object, page: str) -> None:
    assert with_runbook(found, HERE).get("runbook", "") == (HERE.of(page) if page else "")
    assert HERE.of(page) or not page
