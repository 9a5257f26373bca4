"""A table never cuts a cell, whatever the width: cells are wrapped, columns left out by rank, or rows become lists."""

from __future__ import annotations

import pytest
from slipway_cli.output.table import Cell, Column, columns, lines_of

TABLE = [Column("NAME"), Column("COUNT", right=True, rank=1), Column("WHY", wraps=True)]
LONG = "the device's memory is too small for the weights, and nothing else would help there"
ROWS = [
    [Cell("first"), Cell("1"), Cell("short")],
    [Cell("a-much-longer-name"), Cell("1,234"), Cell(LONG)],
]


def test_without_a_width_each_row_is_one_line() -> None:
    lines, left_out = lines_of(TABLE, ROWS, None)
    assert lines == [
        "NAME                COUNT  WHY",
        "first                   1  short",
        f"a-much-longer-name  1,234  {LONG}",
    ]
    assert not left_out


@pytest.mark.parametrize("width", [52, 60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(width: int) -> None:
    lines, left_out = lines_of(TABLE, ROWS, width)
    assert not left_out
    assert all(columns(line) <= width for line in lines)
    assert set(LONG.split()) <= set(" ".join(lines).split())


def test_columns_of_the_highest_rank_are_left_out_first() -> None:
    lines, left_out = lines_of(TABLE, ROWS, 46)
    assert left_out == ["COUNT"]
    assert lines[0].split() == ["NAME", "WHY"]


@pytest.mark.parametrize("width", [26, 30, 40])
def test_what_fits_in_no_table_becomes_a_list(width: int) -> None:
    lines, _ = lines_of(TABLE, ROWS, width)
    assert lines[0] == "NAME: first"
    assert set(LONG.split()) <= set(" ".join(lines).split())


def test_colours_take_no_room() -> None:
    rows = [[Cell("x", lambda text: f"\x1b[31m{text}\x1b[0m"), Cell("1"), Cell("y")]]
    lines, _ = lines_of(TABLE, rows, None)
    assert lines[1] == "\x1b[31mx\x1b[0m" + " " * 9 + "1  y"


def test_wide_letters_take_two_places() -> None:
    assert columns("模型") == 4
    lines, _ = lines_of([Column("A"), Column("B")], [[Cell("模型"), Cell("x")], [Cell("abcd"), Cell("y")]], None)
    assert lines == ["A     B", "模型  x", "abcd  y"]
