"""A failure becomes an exit code and one line for Kubernetes, which the operator parses."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slipway.api.reasons import Reason as OperatorsReason
from slipway.observing.words import ENGINE, LONGEST, explain, with_remedy
from slipway_runtime.contract.pod import TERMINATION_LIMIT
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.failure import Failure, termination_message, write_termination_message

FAILURE = Failure(
    Reason.GPU_OUT_OF_MEMORY,
    "13.9 GiB of weights don't fit into the 12.0 GiB that are free.",
    remedy="Choose a larger accelerator.",
    phase="preflight",
    lines=("Loading weights", "CUDA out of memory"),
)


@pytest.mark.parametrize("reason", Reason)
def test_the_operator_has_the_same_reasons(reason: Reason) -> None:
    assert OperatorsReason(reason.value).name == reason.name


def test_no_failure_exits_with_0_and_no_two_share_a_code() -> None:
    codes = [reason.exit_code for reason in Reason]
    assert 0 not in codes
    assert len({*codes}) == len(Reason)


@pytest.mark.parametrize("code", [reason.exit_code for reason in Reason])
def test_no_exit_code_is_that_of_a_signal_or_an_engine(code: int) -> None:
    assert 1 < code < 126


def test_the_line_carries_everything_that_is_known() -> None:
    assert json.loads(termination_message(FAILURE)) == {
        "reason": "GpuOutOfMemory",
        "message": "13.9 GiB of weights don't fit into the 12.0 GiB that are free.",
        "remedy": "Choose a larger accelerator.",
        "phase": "preflight",
        "lines": ["Loading weights", "CUDA out of memory"],
    }


def test_the_operator_parses_the_line() -> None:
    explanation = explain(termination_message(FAILURE), ENGINE)
    assert explanation
    assert explanation.reason is OperatorsReason.GPU_OUT_OF_MEMORY
    assert with_remedy(explanation.words, explanation.remedy) == f"{FAILURE.message} {FAILURE.remedy}"


ANY_TEXT = st.text(st.characters(), max_size=6000)  # lone surrogates and control characters among them


@given(message=ANY_TEXT, remedy=ANY_TEXT, phase=ANY_TEXT, lines=st.lists(ANY_TEXT, max_size=30))
def test_any_output_fits_in_one_line_that_the_operator_parses(
    message: str, remedy: str, phase: str, lines: list[str]
) -> None:
    failure = Failure(Reason.ENGINE_CRASHED, message, remedy, phase, tuple(lines))
    text = termination_message(failure)
    assert len(text.encode()) <= TERMINATION_LIMIT
    assert len(text.splitlines()) == 1
    explanation = explain(text, ENGINE)
    assert explanation
    assert explanation.reason is OperatorsReason.ENGINE_CRASHED
    assert len(with_remedy(explanation.words, explanation.remedy)) <= LONGEST


@pytest.mark.parametrize("character", ["x", "ü", "🙂", '"', "\x00", "\ud800"])
def test_the_longest_failure_still_fits(character: str) -> None:
    longest = Failure(
        Reason.ENGINE_CRASHED, character * 9999, character * 9999, character * 9999, (character * 9999,) * 99
    )
    text = termination_message(longest)
    assert TERMINATION_LIMIT * 2 // 3 < len(text.encode()) <= TERMINATION_LIMIT


def test_of_many_lines_the_last_ones_are_kept_in_order() -> None:
    lines = tuple(f"line {number} {'.' * 100}" for number in range(100))
    kept = json.loads(termination_message(Failure(Reason.UNKNOWN, "?", lines=lines)))["lines"]
    assert 10 < len(kept) < 100
    assert tuple(kept) == lines[-len(kept) :]


def test_it_replaces_what_is_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "termination-log"
    file.write_text("x" * 9000)
    assert write_termination_message(FAILURE, file)
    assert file.read_text() == termination_message(FAILURE)


def test_a_file_that_cannot_be_written_does_not_stop_it(tmp_path: Path) -> None:
    assert not write_termination_message(FAILURE, tmp_path / "no such folder/termination-log")
