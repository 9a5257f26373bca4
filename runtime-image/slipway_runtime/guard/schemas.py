"""Whether an engine can safely be given a JSON schema that a client wrote.

llama.cpp turns the schema into a grammar, recursively, and unrolls repetitions: a contradiction ("at least 5 and at
most 2") never ends there, and neither does a schema that refers to itself. The bounds are more than models are asked
for, and less than what takes a second or a hundred MiB. vLLM's xgrammar unrolls nothing: only the size matters there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from slipway_runtime.guard.grammars import wrong_in_pattern

LARGEST = 4096
"""Commas and brackets: each value has one."""
DEEPEST = 40
MOST_REFS = 64
"""Distinct ones: llama.cpp recurses for each, as deep as the schema is."""
MOST_REPEATED = 4096
"""Required items; llama.cpp writes out each of them."""
MOST_OPTIONAL = 200
"""Optional properties of an object: its work grows with their cube."""
LONGEST_NAME, LONGEST_PATTERN = 256, 1024
_BOUNDS = {"minItems": "maxItems", "minLength": "maxLength", "minProperties": "maxProperties"}
_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


class Wrong(Exception):  # noqa: N818 - it is what was found
    """The message says what is too much, in words that follow "has"."""


def size_of(written: bytes) -> int:
    """Returns about how many values it has; commas in strings count, too."""
    return written.count(b",") + written.count(b"{") + written.count(b"[")


def wrong_in(written: bytes, *, only_size: bool = False) -> str:
    """Returns what is too much in it; an empty string if nothing is. `only_size`: for other engines than llama.cpp."""
    if size_of(written) > LARGEST:
        return f"a schema of more than {LARGEST} values"
    try:
        _Schema(_DECODER.decode(written.decode()), only_size=only_size).look()
    except Wrong as wrong:
        return f"a schema with {wrong}"
    except (ValueError, RecursionError):
        return "a schema that is not JSON"
    return ""


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise Wrong("a member that occurs twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


class _Schema:
    def __init__(self, schema: Any, *, only_size: bool) -> None:
        self._whole, self._only_size = schema, only_size
        self._refs: set[str] = set()
        self._nested: dict[str, Any] = {}
        """The content of every `$defs`, which llama.cpp finds from everywhere."""
        self._merges = False
        self._repeated = self._work = 0

    def look(self) -> None:
        self._value(self._whole, 0)
        if self._work > MOST_OPTIONAL**3:
            raise Wrong(f"more than {MOST_OPTIONAL} properties that may be left out")
        if len(self._refs) > MOST_REFS:
            raise Wrong(f"more than {MOST_REFS} different '$ref'")
        if self._repeated > MOST_REPEATED:
            raise Wrong(f"more than {MOST_REPEATED} items that are repeated ('minItems', 'maxItems')")
        # Through `allOf`, it follows references to references, endlessly if they form a circle.
        if self._merges and any("$ref" in target for target in self._targets()):
            raise Wrong("'allOf', and a '$ref' that leads to nothing but a '$ref'")

    def _value(self, value: Any, depth: int) -> None:
        if depth > DEEPEST:
            raise Wrong(f"more than {DEEPEST} levels")
        if isinstance(value, dict) and value:
            self._members(value)
            for each in value.values():
                self._value(each, depth + 1)
        elif isinstance(value, list):
            for each in value:
                self._value(each, depth + 1)

    def _members(self, value: dict[str, Any]) -> None:
        if isinstance(properties := value.get("properties"), dict):
            self._properties(properties, value.get("required"))
        if not self._only_size:
            self._of_llamacpp(value)

    def _of_llamacpp(self, value: dict[str, Any]) -> None:
        if any(len(name) > LONGEST_NAME for name in value):
            raise Wrong(f"a name of more than {LONGEST_NAME} characters")
        self._numbers(value)
        if isinstance(pattern := value.get("pattern"), str):
            self._pattern(pattern)
        if isinstance(ref := value.get("$ref"), str):
            self._refs.add(ref)
        if isinstance(definitions := value.get("$defs"), dict):
            self._nested |= definitions
        if isinstance(kinds := value.get("type"), list):
            self._kinds(kinds, value)
        if isinstance(parts := value.get("allOf"), list):
            self._parts(parts)

    def _numbers(self, value: dict[str, Any]) -> None:
        for least, most in _BOUNDS.items():
            if least in value or most in value:
                self._bounds(least, value.get(least), most, value.get(most))
        for limit in _LIMITS:
            if isinstance(value.get(limit), int | float) and not abs(value[limit]) <= 1e15:
                raise Wrong(f"a {limit!r} beyond 1e15")

    def _bounds(self, least: str, low: Any, most: str, high: Any) -> None:
        numbers = [number for number in (low, high) if isinstance(number, int | float)]
        if any(not 0 <= number < 2**31 for number in numbers):
            raise Wrong(f"a {least!r} or {most!r} that is not from 0 to {2**31 - 1}")
        if len(numbers) == 2 and int(numbers[1]) < int(numbers[0]):
            raise Wrong(f"a {most!r} below its {least!r}")
        if least == "minItems":
            self._repeated += sum(map(int, numbers))

    def _pattern(self, pattern: str) -> None:
        if len(pattern) > LONGEST_PATTERN:
            raise Wrong(f"a 'pattern' of more than {LONGEST_PATTERN} characters")
        if why := wrong_in_pattern(pattern):
            raise Wrong(f"a 'pattern' with {why}")

    def _kinds(self, kinds: list[Any], value: dict[str, Any]) -> None:
        """llama.cpp goes through the entire schema once for each type."""
        if len({str(kind) for kind in kinds}) < len(kinds) or (len(kinds) > 1 and "allOf" in value):
            raise Wrong("a 'type' that lists one twice, or 'allOf' next to several types")

    def _parts(self, parts: list[Any]) -> None:
        self._merges = True
        if any(isinstance(part, dict) and "anyOf" in part for part in parts):
            raise Wrong("'anyOf' directly within 'allOf'")

    def _properties(self, properties: dict[str, Any], required: Any) -> None:
        needed = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
        self._work += len(properties.keys() - needed) ** 3

    def _targets(self) -> Iterator[dict[str, Any]]:
        for ref in self._refs:
            value = self._whole
            path = ref.partition("#")[2].split("/")[1:]
            for name in path:
                if isinstance(value, dict):
                    value = value.get(name)
                elif isinstance(value, list) and name.isdecimal() and len(name) < 9 and int(name) < len(value):
                    value = value[int(name)]
                else:
                    value = None
            if value is None and len(path) == 2:
                value = self._nested.get(path[1])
            if isinstance(value, dict):
                yield value
