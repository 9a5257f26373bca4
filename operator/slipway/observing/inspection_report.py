"""Decodes the report of an inspection, which is a termination message, and reads it from `status.model`. Pure.

What the Hub says about a model is stored in the same form. A tenant may have written any of it, so the size is bounded
before anything is decompressed or parsed, and whatever is invalid counts as no report.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from typing import Any, NoReturn

from slipway.contract.pod import REPORT_LIMIT, REPORT_START, TERMINATION_LIMIT
from slipway.models.shortened import shortened

DEEPEST = 16  # levels of objects and lists; a config has four


def decoded(message: str) -> str | None:
    """The report as JSON, as it is stored; None: this isn't a report."""
    if not message.startswith(REPORT_START) or len(message) > TERMINATION_LIMIT:
        return None
    try:
        packed = base64.b85decode(message.removeprefix(REPORT_START))
        text = _decompressed(packed)
        return _stored(parsed(text.decode()))
    except (ValueError, zlib.error):
        return None


def of_config(config: dict[str, Any]) -> str:
    """What is stored of a config.json alone. ValueError: it has more in it than that of any model."""
    return _stored({"config": shortened(config)})


def facts_in(stored: str | None) -> dict[str, Any] | None:
    """The content of a stored report."""
    if not stored or len(stored) > REPORT_LIMIT:
        return None
    try:
        return parsed(stored)
    except ValueError:
        return None


def parsed(text: str) -> dict[str, Any]:
    """ValueError for what isn't a JSON object, or is too deep, or has numbers that JSON doesn't know."""
    try:
        found = json.loads(text, parse_constant=_refused, parse_float=_finite, object_hook=_unchanged)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(found, dict) or _is_deeper(found, DEEPEST):
        raise ValueError("not an object, or too deep")
    return found


def _decompressed(packed: bytes) -> bytes:
    """No more is decompressed than a report may have, whatever the message promises."""
    unpacking = zlib.decompressobj()
    text = unpacking.decompress(packed, REPORT_LIMIT + 1)
    if len(text) > REPORT_LIMIT or not unpacking.eof:
        raise ValueError("too long, or cut")
    return text


def _stored(content: dict[str, Any]) -> str:
    """Other spellings of the same JSON may be longer."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    if len(text) > REPORT_LIMIT:
        raise ValueError("too long")
    return text


def _finite(word: str) -> float:
    number = float(word)
    return number if math.isfinite(number) else _refused(word)


def _unchanged(value: dict[str, Any]) -> dict[str, Any]:
    """Where a thread parses, others run whenever this is called; the parser, which is written in C, doesn't stop for
    them."""
    return value


def _refused(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number")


def _is_deeper(value: Any, most: int) -> bool:
    level: list[Any] = [value]
    for _ in range(most):
        level = [each for one in level for each in _members(one)]
        if not level:
            return False
    return True


def _members(value: Any) -> list[Any]:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for each in inside if isinstance(each, dict | list)]
