"""Compares what a command printed with what the page shows.

`…` alone on a line stands for any number of lines, and within a line for any text. A placeholder stands for its value,
or for itself: it may be the heading of a column. How many blanks separate two words doesn't matter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from support.pages.console import ANY
from support.pages.placeholders import Values, split, value_of


@dataclass(frozen=True)
class Difference:
    """The first line of the page that isn't in the output where it should be, or the first line that isn't on the
    page. A number is an index; None: there is no such line."""

    of_page: int | None
    of_output: int | None


def difference(page: Sequence[str], output: Sequence[str], values: Values) -> Difference | None:
    """Returns None if they match."""
    ends = {0}  # how many lines of the output the lines of the page so far may have taken
    for at, line in enumerate(page):
        if line.strip() == ANY:
            ends = set(range(min(ends), len(output) + 1))
            continue
        pattern = pattern_of(line, values)
        taken = {end + 1 for end in ends if end < len(output) and pattern.fullmatch(output[end].strip())}
        if not taken:
            return Difference(at, min(ends) if min(ends) < len(output) else None)
        ends = taken
    return None if len(output) in ends else Difference(None, max(ends))


def shows(page: Sequence[str], line: str, values: Values) -> bool:
    """Whether the page has this line entirely, or in words of its own and not as a part of `…`."""
    own = (each for each in page if ANY not in each or re.search(r"\w{2,}.*\w{2,}", each.replace(ANY, "")))
    return any(pattern_of(each, values).fullmatch(line.strip()) for each in own)


def pattern_of(line: str, values: Values) -> re.Pattern[str]:
    words = (_placeholder(part, values) if is_one else _literally(part) for part, is_one in split(line.strip()))
    return re.compile("".join(words))


def _placeholder(name: str, values: Values) -> str:
    if name not in values:
        return re.escape(name)
    return f"(?:{re.escape(value_of(name, values))}|{name})"


def _literally(text: str) -> str:
    parts = re.split(rf"(\s+{ANY}\s+|\s+|{ANY})", text)
    return "".join(map(_part, parts))


def _part(part: str) -> str:
    if part.strip() == ANY:
        return r"\s+(?:.*\s)?" if part != ANY else ".*"  # between two words there may be nothing but a blank
    return r"\s+" if part.isspace() else re.escape(part)
