"""Tables that lose nothing: a cell is wrapped, and a table that is too wide becomes a list, but no cell is cut. Pure.

Without a width, as in a pipe, each row is one line, whatever its length.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slipway_cli.visible import visible

GAP = "  "
LEAST = 24  # columns that a wrapped cell must have to be readable
Paint = Callable[[str], str]


@dataclass(frozen=True)
class Cell:
    """One value, and how it is coloured once it has its width."""

    text: str
    paint: Paint | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", visible(self.text))

    def padded(self, width: int, *, right: bool) -> str:
        space = " " * (width - columns(self.text))
        painted = self.paint(self.text) if self.paint and self.text else self.text
        return f"{space}{painted}" if right else f"{painted}{space}"


@dataclass(frozen=True)
class Column:
    """`rank`: columns with the highest are left out first where the terminal is narrow; 0 is always shown."""

    title: str
    right: bool = False
    wraps: bool = False
    rank: int = 0


def columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns_of(letter) for letter in text)


def _columns_of(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):  # they are drawn over or between others
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def lines_of(table: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None) -> tuple[list[str], list[str]]:
    """The lines, and the titles of the columns that were left out."""
    shown = list(range(len(table)))
    while width is not None and _least(table, rows, shown) > width and any(table[at].rank for at in shown):
        shown.remove(max(shown, key=lambda at: (table[at].rank, at)))
    left_out = [table[at].title for at in range(len(table)) if at not in shown]
    kept = [table[at] for at in shown]
    chosen = [[row[at] for at in shown] for row in rows]
    if width is not None and _least(table, rows, shown) > width:
        return _listed(kept, chosen, width), left_out
    return _drawn(kept, chosen, width), left_out


def _least(table: Sequence[Column], rows: Sequence[Sequence[Cell]], shown: Sequence[int]) -> int:
    widths = [min(each, LEAST) if table[at].wraps else each for at in shown for each in [_widest(table, rows, at)]]
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _widest(table: Sequence[Column], rows: Sequence[Sequence[Cell]], at: int) -> int:
    return max([columns(table[at].title), *(columns(row[at].text) for row in rows)])


def _drawn(table: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None) -> list[str]:
    widths = [_widest(table, rows, at) for at in range(len(table))]
    if width is not None:
        widths = _wrapped(table, widths, width)
    found = [_line([Cell(each.title) for each in table], table, widths)]
    for row in rows:
        parts = [_parts(cell, width_of) for cell, width_of in zip(row, widths, strict=True)]
        for at in range(max(len(part) for part in parts)):
            cells = [part[at] if at < len(part) else Cell("") for part in parts]
            found.append(_line(cells, table, widths))
    return found


def _wrapped(table: Sequence[Column], widths: list[int], width: int) -> list[int]:
    """The widest of the columns that wrap gives up a place until the row fits."""
    result = list(widths)
    while sum(result) + len(GAP) * (len(result) - 1) > width:
        soft = [at for at in range(len(table)) if table[at].wraps and result[at] > LEAST]
        if not soft:
            break
        result[max(soft, key=lambda at: result[at])] -= 1
    return result


def _parts(cell: Cell, width: int) -> list[Cell]:
    if columns(cell.text) <= width:
        return [cell]
    return [Cell(part, cell.paint) for part in textwrap.wrap(cell.text, width) or [""]]


def _line(cells: Sequence[Cell], table: Sequence[Column], widths: Sequence[int]) -> str:
    padded = (cell.padded(width, right=column.right) for cell, column, width in zip(cells, table, widths, strict=True))
    return GAP.join(padded).rstrip()


def _listed(table: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> list[str]:
    """Each row as lines of `TITLE: value`."""
    found: list[str] = []
    for row in rows:
        for column, cell in zip(table, row, strict=True):
            if cell.text:
                room = max(width - columns(column.title) - 2, LEAST)
                first, *rest = textwrap.wrap(cell.text, room) or [""]
                painted = [cell.paint(part) if cell.paint else part for part in (first, *rest)]
                found += [f"{column.title}: {painted[0]}", *(f"  {part}" for part in painted[1:])]
        found.append("")
    return found[:-1]
