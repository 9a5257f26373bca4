"""Values of a model's files with the expected type; another type is an error that names the field and the value.

A missing value and null are None. Pure.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from slipway_runtime.models.words import printable, shown

JsonObject = dict[str, Any]

MOST = 1 << 40  # of anything that is counted: the product of several such numbers is still finite
LONGEST_NAME = 200  # characters
LONGEST_FIELD = 160
LONGEST_FILE_NAME = 255  # bytes, on all common file systems


class Unfit(Exception):  # noqa: N818 - it describes a value, and becomes an error where the file is known
    """A value has an unexpected type, or is out of bounds."""

    def __init__(self, field: str, value: object, meant: str) -> None:
        super().__init__(f"{printable(field, LONGEST_FIELD)} is {shown(value)}, but must be {meant}")


class LongList(int):
    """The length of a list that is too long to be kept."""


def text(values: JsonObject, name: str, *, most: int = LONGEST_NAME, within: str = "") -> str | None:
    value = values.get(name)
    return None if value is None else as_text(within + name, value, most)


def as_text(field: str, value: object, most: int = LONGEST_NAME) -> str:
    """Returns a name: one line, and not long."""
    if isinstance(value, str) and len(value) <= most and value.isprintable():
        return value
    raise Unfit(field, value, f"a string in one line of at most {most} characters")


def whole(values: JsonObject, name: str, *, least: int = 0, most: int = MOST, within: str = "") -> int | None:
    value = values.get(name)
    if value is None or (is_whole(value) and least <= value <= most):
        return value
    raise Unfit(within + name, value, f"a whole number from {least} to {most}")


def real(values: JsonObject, name: str, *, most: int, within: str = "") -> float | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most:  # NaN is not
        return float(value)
    raise Unfit(within + name, value, f"a number from 0 to {most}")


def mapping(values: JsonObject, name: str, *, within: str = "") -> JsonObject:
    """Returns the object; an empty one where there is none."""
    value = values.get(name)
    if value is None or isinstance(value, dict):
        return value or {}
    raise Unfit(within + name, value, "an object")


def length(values: JsonObject, name: str) -> int | None:
    """Returns the length of a list, whether it was kept or not."""
    value = values.get(name)
    if isinstance(value, list):
        return len(value)
    if value is None or isinstance(value, LongList):
        return value
    raise Unfit(name, value, "a list")


def is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool | LongList)


def is_file_name(value: object) -> TypeGuard[str]:
    """Returns whether it is the name of a file in a folder that leads nowhere else."""
    if not isinstance(value, str) or value in ("", ".", "..") or "/" in value or "\0" in value:
        return False
    try:
        return len(value.encode()) <= LONGEST_FILE_NAME
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
