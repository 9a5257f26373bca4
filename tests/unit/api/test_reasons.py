"""Reasons are words for programs with a line for people, each of them once."""

import re

import pytest
from slipway.api.reasons import ConditionType, Reason, State


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_one_word_in_camel_case(reason: Reason) -> None:
    assert re.fullmatch(r"([A-Z][a-z]+)+", reason.replace("KServe", "Kserve"))


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_called_in_python_as_it_is_written(reason: Reason) -> None:
    assert reason.name.replace("_", "").lower() == reason.lower()


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_means_something_in_one_line(reason: Reason) -> None:
    assert re.fullmatch(r"[A-Z][^\n]{20,110}\.", reason.meaning)


def test_no_two_reasons_mean_the_same() -> None:
    assert len({reason.meaning for reason in Reason}) == len(Reason)


@pytest.mark.parametrize("reason", [Reason.INVALID_SPEC, Reason.MODEL_NOT_FOUND, Reason.GPU_OUT_OF_MEMORY])
def test_what_only_a_person_can_put_right_is_final(reason: Reason) -> None:
    assert reason.is_final


@pytest.mark.parametrize("reason", [Reason.UNSCHEDULABLE, Reason.IMAGE_PULL_FAILED, Reason.QUOTA_EXCEEDED])
def test_what_can_pass_by_itself_is_not_final(reason: Reason) -> None:
    assert not reason.is_final


def test_a_reason_is_read_back_from_its_word() -> None:
    assert Reason("ImagePullFailed") is Reason.IMAGE_PULL_FAILED


def test_states_and_conditions_are_the_words_of_the_api() -> None:
    assert [*State] == ["Idle", "Waking", "Serving", "Updating", "Degraded", "Failed"]
    assert {*ConditionType} == {
        "Ready",
        "Planned",
        "ModelLoaded",
        "Scaled",
        "Reachable",
        "Reconciling",
        "Stalled",
    }
