"""One form for all ways in which the same object can be written, to compare what was applied with what is there. Pure.

The API server and KServe's webhooks write an object anew: `0.5` of a processor becomes `500m`, what is empty is left
out, and lists whose items have names stay in the order in which those came.
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


def digest(thing: Any) -> str:
    return hash_of(plain(thing))[:DIGITS]


def plain(value: Any, name: str = "") -> Any:
    """`name`: of the field that has it."""
    if isinstance(value, dict):
        of_all = {key: _quantity(each) if name in QUANTITIES else plain(each, key) for key, each in value.items()}
        return {key: each for key, each in of_all.items() if each}
    if isinstance(value, list | tuple):
        items = [plain(each) for each in value]
        return sorted(items, key=text) if all(isinstance(each, dict) for each in items) else items
    return _quantity(value) if name in QUANTITY else value


def text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _quantity(value: Any) -> Any:
    if isinstance(value, str | int):
        with suppress(ValueError):
            return format(units.amount(value).normalize(), "f")
    return value
