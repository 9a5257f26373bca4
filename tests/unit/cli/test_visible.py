"""What tenants write can't act on the terminal of the person who reads it."""

from __future__ import annotations

import pytest
from slipway_cli.output import screen
from slipway_cli.output.table import Cell, Column, columns, lines_of
from slipway_cli.problems import Problem
from slipway_cli.visible import of_log, visible

HOSTILE = "CUDA error\x1b[2J\x1b]0;all is well\x07 \x9b1A\r fine\u202e"


def test_what_acts_on_a_terminal_is_left_out() -> None:
    assert visible(HOSTILE) == "CUDA error  fine"


@pytest.mark.parametrize("text", ["", "plain", "ümläut", "日本語", "a\u0301", "five > four"])
def test_what_people_write_stays(text: str) -> None:
    assert visible(text) == text


def test_a_message_of_several_lines_is_one_line() -> None:
    assert visible("one\ntwo\tthree") == "one two three"


def test_a_cell_is_one_line_without_control_characters() -> None:
    lines, _ = lines_of([Column("A"), Column("B")], [[Cell("x\ny\x1b[1A"), Cell("z")]], None)
    assert len(lines) == 2
    assert "\x1b" not in "".join(lines)


def test_a_log_keeps_its_colours_and_nothing_else() -> None:
    assert of_log("\x1b[32mready\x1b[0m") == "\x1b[32mready\x1b[0m\x1b[m"
    assert of_log("\x1b[2Jgone\x1b[31m") == "gone\x1b[31m\x1b[m"


def test_an_error_and_a_paragraph_are_cleaned(capsys: pytest.CaptureFixture[str]) -> None:
    Problem(HOSTILE).show()
    screen.paragraph(HOSTILE)
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err


@pytest.mark.parametrize(("text", "wide"), [("abc", 3), ("日本", 4), ("a\u0301", 1), ("👍", 2), ("\u200d", 0)])
def test_letters_take_the_columns_of_a_terminal(text: str, wide: int) -> None:
    assert columns(text) == wide
