"""Each reason is one word for programs with one line for people."""

import re

import pytest
from slipway.api.reasons import ConditionType, Reason, State


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_one_word_in_camel_case(reason: Reason) -> None:
    assert re.fullmatch(r"([A-Z][a-z]+)+", reason.replace("KServe", "Kserve"))


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_has_the_same_name_in_python_and_in_the_api(reason: Reason) -> None:
    assert reason.name.replace("_", "").lower() == reason.lower()


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_explained_in_one_line(reason: Reason) -> None:
    assert re.fullmatch(r"[A-Z][^\n]{20,110}\.", reason.meaning)


def test_no_two_reasons_mean_the_same() -> None:
    assert len({reason.meaning for reason in Reason}) == len(Reason)


@pytest.mark.parametrize("reason", [Reason.INVALID_SPEC, Reason.MODEL_NOT_FOUND, Reason.GPU_OUT_OF_MEMORY])
def test_a_reason_that_only_a_user_can_fix_is_final(reason: Reason) -> None:
    assert reason.is_final


@pytest.mark.parametrize("reason", [Reason.UNSCHEDULABLE, Reason.IMAGE_PULL_FAILED, Reason.QUOTA_EXCEEDED])
def test_a_reason_that_can_pass_on_its_own_is_not_final(reason: Reason) -> None:
    assert not reason.is_final


def test_a_reason_is_parsed_from_its_string() -> None:
    assert Reason("ImagePullFailed") is Reason.IMAGE_PULL_FAILED


def test_states_and_conditions_have_their_names_in_the_api() -> None:
    assert [*State] == ["Idle", "Waking", "Serving", "Updating", "Degraded", "Failed"]
    assert {*ConditionType} == {
        "Ready",
        "Planned",
        "ModelLoaded",
        "Scaled",
        "Reachable",
        "WithinBudget",
        "Reconciling",
        "Stalled",
    }
