"""Prometheus' text format, as far as two sources are put together and a sum is read: names are looked at, labels never.

Label values may contain anything, so a sample is a line, and only the name at its beginning is taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_COMMENT = re.compile(r"# (?:HELP|TYPE|UNIT) (?P<name>\S+)")
_VALUE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\})? (?P<value>\S+)(?: -?\d+)?$")
_PARTS = re.compile(r"_(?:bucket|sum|count|total|created|info)$")


def merge(*texts: str) -> str:
    """One text with the families of all; what two tell, the first one is believed."""
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
    """The sum of a metric over all of its labels; None where it isn't told."""
    found = [float(value) for sample, value in _values(text) if sample == name]
    return sum(found) if found else None


def totals(text: str | None, names: tuple[str, ...]) -> tuple[float, ...]:
    """Returns the totals of those metrics that are in the text."""
    found = [total(text, name) for name in names] if text else []
    return tuple(value for value in found if value is not None)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Each line with the name of its family: that of the comments above it, where its own name goes on from that."""
    family = ""
    for line in text.splitlines():
        if comment := _COMMENT.match(line):
            family = comment["name"]
        elif (name := _NAME.match(line)) and not line.startswith("#"):
            if name[0] != family and _PARTS.sub("", name[0]) != _PARTS.sub("", family):
                family = name[0]
        else:
            continue  # empty, or a comment that means nothing
        yield family, line


def _values(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if sample := _VALUE.match(line):
            yield sample["name"], sample["value"]
