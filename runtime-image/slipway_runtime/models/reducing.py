"""Makes a config short enough for a report, whatever is in it: what no engine's memory depends on is left out. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from slipway_runtime.models.values import JsonObject, LongList
from slipway_runtime.models.words import printable

LONGEST_TEXT = 100  # characters
LONGEST_KEY = 100
LONGEST_PATTERN = 1024  # of layers, with a character for each
LONGEST_LIST = 512  # a list has an entry for each layer
MOST_NAMES = 64  # of modules that are quantized differently
DEEPEST = 8
MOST_VALUES = 10_000  # a report has room for no more
LARGEST_NUMBER = 1 << 63
NEVER_READ = frozenset({"id2label", "label2id"})
QUANTIZATION = "quantization_config"
AT_A_TIME = 8  # an eighth of the members of the same kind is left out, until the rest is short enough
MOST_OMITTED = 8  # that are named


class _Nothing:
    """Stands for a value that is left out."""


NOTHING = _Nothing()


def reduced(value: JsonObject) -> JsonObject:
    """Returns the values that may matter; what is left out here never matters, or is in no model's config."""
    return _Reducing().object(value, LONGEST_LIST, DEEPEST)


@dataclass
class _Reducing:
    """Counts the values that are kept, because later steps take time for each."""

    left: int = MOST_VALUES

    def value(self, value: Any, most: int, depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or not depth:
            return NOTHING
        if isinstance(value, list):
            return self.list(value, most, depth)
        if isinstance(value, dict):
            return self.object(value, most, depth)
        return value if _matters(value) else NOTHING

    def list(self, value: list[Any], most: int, depth: int) -> Any:
        """Of names of modules, the first ones are enough; any other list is complete or not there."""
        if len(value) > most and most == LONGEST_LIST:
            return NOTHING
        items = [self.value(each, most, depth - 1) for each in value[:most]]
        return [each for each in items if each is not NOTHING]

    def object(self, value: JsonObject, most: int, depth: int) -> JsonObject:
        found: JsonObject = {}
        for name, each in value.items():
            within = MOST_NAMES if name == QUANTIZATION else most
            if len(found) < within and name not in NEVER_READ and len(name) <= LONGEST_KEY:
                kept = each if _is_pattern(name, each) else self.value(each, within, depth - 1)
                if kept is not NOTHING:
                    found[name] = kept
        return found


def _is_pattern(name: str, value: Any) -> bool:
    """As in Nemotron-H: `hybrid_override_pattern` is a string with the kind of each layer."""
    return name.endswith("pattern") and isinstance(value, str) and len(value) <= LONGEST_PATTERN


def _matters(value: Any) -> bool:
    match value:
        case bool() | None:
            return True
        case str():
            return len(value) <= LONGEST_TEXT
        case int():
            return abs(value) < LARGEST_NUMBER and not isinstance(value, LongList)
        case float():
            return math.isfinite(value)
    return False


# --- what is still too long ------------------------------------------------------------------------------------------


def without_largest(content: JsonObject, path: str) -> tuple[JsonObject, list[str]]:
    """Returns the content without some of the largest members within `path`, and their names.

    Lists go first, then what is within other objects, then strings; a plan is computed from numbers.
    """
    leaves = sorted(_leaves(content[path], path), key=lambda leaf: (leaf.rank, -leaf.size, leaf.place))
    lowest = [leaf for leaf in leaves if leaf.rank == leaves[0].rank]
    gone = {leaf.place for leaf in lowest[: max(1, len(lowest) // AT_A_TIME)]}
    return {**content, path: _without(content[path], path, gone)}, sorted(gone)


def named(omitted: list[str]) -> list[str]:
    """Returns the names for a report, bounded."""
    more = len(omitted) - MOST_OMITTED
    shown = [printable(each, LONGEST_TEXT) for each in omitted[:MOST_OMITTED]]
    return [*shown, f"and {more} more"] if more > 0 else shown


def size_of(value: Any) -> int:
    """Returns the bytes of a value as JSON."""
    return len(compact(value))


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


class _Leaf(NamedTuple):
    """A member that contains no further object."""

    place: str
    size: int
    rank: int  # what has the lowest is left out first


def _leaves(value: JsonObject, path: str, depth: int = 0) -> Iterator[_Leaf]:
    for name, each in value.items():
        place = f"{path}.{name}"
        if isinstance(each, dict) and each:
            yield from _leaves(each, place, depth + 1)
        else:
            yield _Leaf(place, size_of(each) + len(name), _rank(each, depth))


def _rank(value: Any, depth: int) -> int:
    if isinstance(value, list | dict):
        return 0
    return 1 if depth else 2 if isinstance(value, str) else 3


def _without(value: JsonObject, path: str, gone: set[str]) -> JsonObject:
    kept = {}
    for name, each in value.items():
        place = f"{path}.{name}"
        if place not in gone:
            kept[name] = _without(each, place, gone) if isinstance(each, dict) else each
    return kept
