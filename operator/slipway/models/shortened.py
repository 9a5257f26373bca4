"""A config.json without what no engine's memory depends on, as models/inspected.py describes it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LONGEST_TEXT = 100  # characters
LONGEST_PATTERN = 1024  # of layers, with a character for each
LONGEST_LIST = 512  # a list has an entry for each layer
MOST_NAMES = 64  # of modules that are quantized differently
DEEPEST = 8
LARGEST_NUMBER = 1 << 63
NEVER_READ = ("id2label", "label2id")


def shortened(config: Mapping[str, Any]) -> dict[str, Any]:
    return _object(config, DEEPEST, is_of_quantization=False)


def _object(value: Mapping[str, Any], depth: int, *, is_of_quantization: bool) -> dict[str, Any]:
    found = {}
    for name, each in value.items():
        of_quantization = is_of_quantization or name == "quantization_config"
        if len(name) <= LONGEST_TEXT and name not in NEVER_READ and _matters(name, each, of_quantization):
            found[name] = _value(each, depth - 1, of_quantization)
    return dict(list(found.items())[:MOST_NAMES]) if is_of_quantization else found


def _value(value: Any, depth: int, is_of_quantization: bool) -> Any:
    if not depth:
        return None
    if isinstance(value, Mapping):
        return _object(value, depth, is_of_quantization=is_of_quantization)
    if isinstance(value, list):
        kept = value[:MOST_NAMES] if is_of_quantization else value
        return [_value(each, depth - 1, is_of_quantization) for each in kept if _matters("", each, is_of_quantization)]
    return value


def _matters(name: str, value: Any, is_of_quantization: bool) -> bool:
    match value:
        case str():
            return len(value) <= (LONGEST_PATTERN if name.endswith("pattern") else LONGEST_TEXT)
        case list():
            return is_of_quantization or len(value) <= LONGEST_LIST
        case bool() | None:
            return True
        case int():
            return abs(value) < LARGEST_NUMBER
        case float():
            return math.isfinite(value)
    return isinstance(value, Mapping)
