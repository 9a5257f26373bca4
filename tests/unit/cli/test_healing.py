"""Each provoked failure is healed by the command of `why`, or is in a list that says why it isn't."""

from __future__ import annotations

import pytest
from slipway.api.reasons import Reason
from slipway.observing.cause import WORST_FIRST
from slipway_cli.cluster.next_command import BEYOND, CHOICES
from support.faults.healing import FAILURES, NOT_HEALED, UNTRIED, VALUES, filled
from support.faults.model_failures import MODEL_FAILURES
from support.faults.runbook_faults import RUNBOOK_FAULTS

ELSEWHERE = {"KServeDown", "KedaDown", "BudgetSpent", "ScalingPaused"}
"""Healed by a test of their own: in test_operator_platform.py, test_budget.py and test_activator.py."""
HEALED = {each.reason for each in FAILURES} | ELSEWHERE
OF_MODELS = {str(each) for each in WORST_FIRST} | {str(each) for each in Reason if each.is_final}
"""The reasons for which a model isn't well; the others are of requests, or of what is well."""


def test_each_provoked_failure_is_healed_or_has_a_reason_why_not() -> None:
    provoked = {each.name for each in MODEL_FAILURES} | {each.page for each in RUNBOOK_FAULTS}
    assert not {each.name for each in FAILURES} & NOT_HEALED.keys()
    assert NOT_HEALED.keys() <= provoked
    assert provoked <= {each.name for each in FAILURES} | NOT_HEALED.keys()


@pytest.mark.parametrize("reason", sorted(OF_MODELS))
def test_each_reason_is_healed_on_a_cluster_or_says_why_not(reason: str) -> None:
    places = [reason in HEALED, reason in BEYOND, reason in UNTRIED]
    assert sum(places) == 1


def test_the_lists_have_no_reason_that_is_unknown() -> None:
    known = {str(each) for each in Reason}
    assert CHOICES.keys() | BEYOND.keys() | UNTRIED.keys() | HEALED <= known


def test_a_value_that_no_test_knows_is_not_left_in_a_command() -> None:
    with pytest.raises(KeyError):
        filled("kubectl patch <x>", ["<x>"])
    assert all(each.startswith("<") and each.endswith(">") for each in VALUES)
