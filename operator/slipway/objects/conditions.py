"""Reads the conditions in an object's status."""

from __future__ import annotations

from datetime import datetime

from slipway.objects.kinds import Object
from slipway.objects.times import parse_time


def condition(found: Object, type_: str) -> Object | None:
    """The condition of that type, if the object has it."""
    conditions: list[Object] = found.get("status", {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == type_), None)


def is_true(found: Object, type_: str) -> bool:
    return (condition(found, type_) or {}).get("status") == "True"


def true_since(found: Object, type_: str) -> datetime | None:
    """None: it isn't true, or no time is known."""
    known = condition(found, type_) or {}
    return parse_time(known.get("lastTransitionTime")) if known.get("status") == "True" else None


def is_false(found: Object, type_: str) -> bool:
    return (condition(found, type_) or {}).get("status") == "False"
