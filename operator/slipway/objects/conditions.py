"""Reads the conditions in an object's status."""

from __future__ import annotations

from slipway.objects.kinds import Object


def condition(found: Object, type_: str) -> Object | None:
    """The condition of that type, if the object has it."""
    conditions: list[Object] = found.get("status", {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == type_), None)


def is_true(found: Object, type_: str) -> bool:
    return (condition(found, type_) or {}).get("status") == "True"


def is_false(found: Object, type_: str) -> bool:
    return (condition(found, type_) or {}).get("status") == "False"
