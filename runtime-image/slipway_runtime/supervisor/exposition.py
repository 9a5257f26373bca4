"""Prometheus' text format, as far as it takes to merge two sources and to sum a metric. Labels are never parsed.

Label values may contain anything, so a sample is a line, and only the name at its start is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_COMMENT = re.compile(r"# (?:HELP|TYPE|UNIT) (?P<name>\S+)")
_VALUE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\})? (?P<value>\S+)(?: -?\d+)?$")
_PARTS = re.compile(r"_(?:bucket|sum|count|total|created|info)$")


def merge(*texts: str) -> str:
    """Returns one exposition with the families of all; of a sample that two of them have, the first one counts."""
    families: dict[str, list[str]] = {}
    told: set[str] = set()
    for text in texts:
        known = set(families)
        for name, line in _lines(text):
            sample = line.rpartition(" ")[0]
            if name in known and (line.startswith("#") or sample in told):
                continue
            told.add(sample)
            families.setdefault(name, []).append(line)
    return "".join(f"{line}\n" for lines in families.values() for line in lines)


def total(text: str, name: str) -> float | None:
    """Returns the sum of a metric over all of its labels; None where the text lacks it."""
    found = [value for sample, word in _values(text) if sample == name and (value := _number(word)) is not None]
    return sum(found) if found else None


def totals(text: str | None, names: tuple[str, ...]) -> tuple[float, ...]:
    """Returns the totals of those metrics that are in the text."""
    found = [total(text, name) for name in names] if text else []
    return tuple(value for value in found if value is not None)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Yields each line with the name of its family: the name in the comments above it, where the line's own name
    extends it."""
    family = ""
    for line in text.splitlines():
        if comment := _COMMENT.match(line):
            family = comment["name"]
        elif (name := _NAME.match(line)) and not line.startswith("#"):
            if name[0] != family and _PARTS.sub("", name[0]) != _PARTS.sub("", family):
                family = name[0]
        else:
            continue  # empty, or a comment without meaning
        yield family, line


def _values(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if sample := _VALUE.match(line):
            yield sample["name"], sample["value"]


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
