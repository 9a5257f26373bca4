"""What pydantic refuses, as one sentence. Pure."""

from __future__ import annotations

from pydantic import ValidationError


def first_mistake(error: ValidationError) -> str:
    """The field, its value and what it should be, of the first mistake."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    value = first.get("input")
    shown = "" if isinstance(value, dict | list) or first["type"] == "missing" else f" is {value!r}, and"
    if first["type"] == "extra_forbidden":
        return f"{field} is not a field: correct its name, or remove it."
    if first["type"] == "missing":
        return f"{field} is missing: add it."
    return f"{field}{shown} {first['msg'].removeprefix('Value error, ')[0].lower()}{_rest(first['msg'])}."


def _rest(message: str) -> str:
    return message.removeprefix("Value error, ")[1:].rstrip(".")
