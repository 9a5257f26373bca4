"""Markdown of a runbook as lines for a terminal: prose is wrapped, tables stay, and commands are indented. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

ITEM = re.compile(r"^(\s*(?:[-*]|\d+\.) )")
FENCE = re.compile(r"^\s*```")


def lines_of(text: str, width: int | None) -> list[str]:
    """Without a width, as it is."""
    if width is None:
        return text.splitlines()
    return [line for block in _blocks(text) for line in _wrapped(block, width)]


def _blocks(text: str) -> Iterator[list[str]]:
    """Paragraphs, items of lists and headings, each as its lines; and blocks of code, fences included."""
    block: list[str] = []
    is_code = False
    for line in text.splitlines():
        starts = not is_code and (
            not line.strip() or line.startswith(("#", "|")) or FENCE.match(line) or ITEM.match(line)
        )
        if starts and block:
            yield block
            block = []
        block.append(line)
        if FENCE.match(line):
            is_code = not is_code
            if not is_code:
                yield block
                block = []
        elif not is_code and (not line.strip() or line.startswith(("#", "|"))):
            yield block
            block = []
    if block:
        yield block


def _wrapped(block: list[str], width: int) -> list[str]:
    first = block[0]
    if FENCE.match(first):
        return [f"    {line}".rstrip() for line in textwrap.dedent("\n".join(block)).splitlines()[1:-1]]
    if not first.strip() or first.startswith(("#", "|")):
        return block
    item = ITEM.match(first)
    indent = " " * len(item[1]) if item else ""
    text = " ".join(line.strip() for line in block)
    start = item[1] if item else ""
    return textwrap.wrap(
        text.removeprefix(start.strip()).strip(),
        width,
        initial_indent=start,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
