"""One normal form for equal objects, to compare what was applied with what exists. Pure.

The API server and KServe's webhooks rewrite objects: `0.5` CPUs become `500m`, empty fields are dropped, and lists
whose items have names stay in the order in which the items were added.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from slipway.api import units
from slipway.operator.rendering.desired import hash_of

QUANTITIES = frozenset({"requests", "limits"})
QUANTITY = frozenset({"sizeLimit", "divisor"})
DIGITS = 32


def digest(value: Any) -> str:
    return hash_of(normalized(value))[:DIGITS]


def normalized(value: Any, name: str = "") -> Any:
    """`name`: the field that holds the value."""
    if isinstance(value, dict):
        of_all = {key: _quantity(each) if name in QUANTITIES else normalized(each, key) for key, each in value.items()}
        return {key: each for key, each in of_all.items() if each}
    if isinstance(value, list | tuple):
        items = [normalized(each) for each in value]
        return sorted(items, key=canonical_json) if all(isinstance(each, dict) for each in items) else items
    return _quantity(value) if name in QUANTITY else value


def canonical_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _quantity(value: Any) -> Any:
    if isinstance(value, str | int):
        with suppress(ValueError):
            return format(units.amount(value).normalize(), "f")
    return value
