"""Suggestions for misspelled names of values, as JSON Schema: patterns that match only the misspellings of one name.

A schema can't compute an edit distance. But some wrong names start like exactly one name, and some differ from a name
by one typo: for those, the schema suggests that name. For all others, it lists the names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

SHORTEST = 3  # letters by which a name is known, if no other begins with them
Path = tuple[str, ...]


def nearest_names(names: Iterable[str], path: Path = (), elsewhere: Mapping[str, Sequence[Path]] | None = None) -> Any:
    """Keywords of the schema of a map with these names, at that path. `elsewhere`: names that are at home there."""
    all_names = sorted(names)
    patterns = {pattern: [(*path, name)] for name in all_names if (pattern := misspelt(name, all_names))}
    known = [re.compile(each) for each in patterns]
    for name, places in (elsewhere or {}).items():
        if name not in all_names and not any(each.search(name) for each in known):
            patterns[f"^{re.escape(name)}$"] = list(places)
    told = {pattern: {"const": _sentence(places)} for pattern, places in patterns.items()}
    unless = {"if": {"anyOf": [{"pattern": each} for each in patterns]}} if patterns else {"if": False}
    return {"patternProperties": told, "propertyNames": {**unless, "else": {"enum": all_names}}}


def _sentence(places: Sequence[Path]) -> str:
    """As helm's words go on: "value must be ..."."""
    either = " or ".join(".".join(each) for each in places)
    return f"renamed to {either}, the nearest that there is"


def misspelt(name: str, names: Sequence[str]) -> str:
    """Strings that are neither it nor any of the others, and that it is the nearest name to. Empty: there are none."""
    others = [each for each in names if each != name]
    known_by = _known_by(name, others)
    slips = [each for each in _slips(name, len(known_by)) if not any(re.fullmatch(each, other) for other in names)]
    begins = [] if _begins(known_by, others) else [f"{re.escape(known_by)}{_anything_but(name[len(known_by) :])}"]
    either = [*begins, *slips]
    return f"^(?:{'|'.join(either)})$" if either else ""


def _known_by(name: str, others: Sequence[str]) -> str:
    """The least that it begins with and no other name does; all of it, if there is no such beginning."""
    beginnings = (name[:length] for length in range(SHORTEST, len(name)))
    return next((each for each in beginnings if not _begins(each, others)), name)


def _begins(beginning: str, names: Iterable[str]) -> bool:
    return any(each.startswith(beginning) for each in names)


def _anything_but(rest: str) -> str:
    """It ends before its time, goes on otherwise, or doesn't end. Nested, which takes the least letters."""
    if not rest:
        return ".+"
    return f"(?:[^{re.escape(rest[0])}].*|{re.escape(rest[0])}{_anything_but(rest[1:])})?"


def _slips(name: str, letters: int) -> Iterator[str]:
    """One letter wrong, left out, too many, or two that changed places; within the first letters, or one at the end."""
    yield f"{re.escape(name)}."
    for at in range(letters):
        before, letter, after = name[:at], name[at], name[at + 1 :]
        yield f"{re.escape(before)}[^{re.escape(letter)}]?{re.escape(after)}"
        yield f"{re.escape(before)}.{re.escape(letter + after)}"
        if after and after[0] != letter:
            yield re.escape(before + after[0] + letter + after[1:])
