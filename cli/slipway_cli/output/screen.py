"""The terminal, or the pipe, that a command writes to: its width, its colours, and paragraphs that fit into it."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

import click

from slipway_cli.output.table import Cell, Column, Paint, lines_of
from slipway_cli.visible import visible

NARROWEST = 40


def wants_colour() -> bool | None:
    """None: as the stream is; https://no-color.org."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def width() -> int | None:
    """None: what is written is no terminal, and lines may have any length."""
    if not sys.stdout.isatty():
        return None
    return max(shutil.get_terminal_size().columns, NARROWEST)


def paragraph(text: str, *, indent: str = "", first: str | None = None, paint: Paint = str) -> None:
    wide, start, text = width(), indent if first is None else first, visible(text)
    lines = [f"{start}{text}"]
    if wide is not None:
        lines = textwrap.wrap(
            text, wide, initial_indent=start, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
    for line in lines or [start]:
        click.echo(paint(line))


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Prints it, and returns the titles of the columns for which the terminal is too narrow."""
    lines, left_out = lines_of(columns, rows, width())
    for at, line in enumerate(lines):
        click.echo(click.style(line, bold=True) if at == 0 and ":" not in line else line)
    return left_out


def note(text: str) -> None:
    """A sentence besides what was asked for: on stderr."""
    for line in textwrap.wrap(visible(text), width() or 10_000):
        click.echo(faint(line), err=True)


def good(text: str) -> str:
    return click.style(text, fg="green")


def bad(text: str) -> str:
    return click.style(text, fg="red")


def uncertain(text: str) -> str:
    return click.style(text, fg="yellow")


def faint(text: str) -> str:
    return click.style(text, dim=True)


def strong(text: str) -> str:
    return click.style(text, bold=True)
