"""Prometheus' text format, as far as it takes to merge two sources and to sum a metric. Labels are never parsed.

Label values may contain anything, so a sample is a line, of which only the name and the end of the labels are found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_COMMENT = re.compile(r"# (?:HELP|TYPE|UNIT) (?P<name>\S+)")
_SAMPLE = re.compile(r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*+)(?P<labels>\{(?:[^"}]|"(?:[^"\\]|\\.)*+")*+\})?')
_VALUE = re.compile(rf"{_SAMPLE.pattern} (?P<value>\S+)(?: -?\d+| # .*)?")
_PARTS = re.compile(r"_(?:bucket|sum|count|total|created|info)$")
_QUOTE = re.compile(r'(?<!\\)"')


def merge(*pages: str, open_metrics: bool = False) -> str:
    """Returns one page with the families of all; of a sample that two of them have, the first one counts.

    Each page may be in the classic format or in OpenMetrics, which differ little; only the latter has exemplars.
    """
    families: dict[str, list[str]] = {}
    told: set[str] = set()
    for page in pages:
        known = set(families)
        for name, line in _lines(page):
            sample = found[0] if (found := _SAMPLE.match(line)) else line
            if name in known and (line.startswith("#") or sample in told):
                continue
            told.add(sample)
            families.setdefault(name, []).append(line)
    written = map(_in_open_metrics, families.values()) if open_metrics else families.values()
    return "".join(f"{line}\n" for lines in written for line in lines) + ("# EOF\n" if open_metrics else "")


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
    extends it. A counter's family is called as its sample, also in OpenMetrics."""
    family = ""
    for line in text.split("\n"):
        if comment := _COMMENT.match(line):
            family = comment["name"]
        elif (name := _NAME.match(line)) and not line.startswith("#"):
            if name[0] != family and _PARTS.sub("", name[0]) not in (family, _PARTS.sub("", family)):
                family = name[0]
        else:
            continue  # empty, or a comment without meaning
        yield family, line


def _in_open_metrics(lines: list[str]) -> Iterator[str]:
    """Yields a family's lines as OpenMetrics has them: a counter is called without its `_total`, which its samples must
    have, and quotation marks in its description are escaped."""
    names = [found[0] for line in lines if (found := _NAME.match(line))]
    is_counter = any(line.startswith("# TYPE ") and line.endswith(" counter") for line in lines)
    has_totals = all(name.endswith("_total") for name in names)
    for line in lines:
        if not line.startswith("# "):
            yield line
            continue
        _, what, name, text = (*line.split(" ", 3), "")[:4]
        if what == "TYPE" and (text == "untyped" or (is_counter and not has_totals)):
            text = "unknown"
        if what == "HELP":
            text = _QUOTE.sub(r"\"", text)
        yield f"# {what} {name.removesuffix('_total') if is_counter and has_totals else name} {text}"


def _values(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        if sample := _VALUE.fullmatch(line):
            yield sample["name"], sample["value"]


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
