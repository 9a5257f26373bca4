"""Reads values of JSON that strangers wrote: one of an unexpected type, or out of bounds, counts as absent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]

MOST = 1 << 40  # of anything that is counted; a product of several such numbers is still computed quickly
LONGEST_LIST = 4096  # entries; more than the layers of any model
LONGEST_TEXT = 200  # characters


class Unclear(Exception):  # noqa: N818 - it says what to ask for, and is caught where the model is put together
    """What a layer keeps, or how large the weights are, doesn't follow from the config."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field  # of spec.model.facts


def whole(config: Config, *names: str, least: int = 1, most: int = MOST) -> int | None:
    """Returns the first of these fields that is a whole number within the bounds."""
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
    return None


def real(config: Config, *names: str, least: float = 0.0, most: float = 1e12) -> float | None:
    for name in names:
        value = config.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:  # NaN isn't
            return float(value)
    return None


def text(config: Config, *names: str) -> str:
    """Returns the first of these fields that is a string; an empty one where there is none."""
    for name in names:
        value = config.get(name)
        if isinstance(value, str) and len(value) <= LONGEST_TEXT and value.isprintable():
            return value
    return ""


def flag(config: Config, name: str, default: bool = False) -> bool:
    value = config.get(name)
    return value if isinstance(value, bool) else default


def section(config: Config, *names: str) -> Config:
    """Returns the first of these fields that is an object; an empty one where there is none."""
    for name in names:
        value = config.get(name)
        if isinstance(value, Mapping):
            return value
    return {}


def items(config: Config, *names: str) -> list[Any] | None:
    """Returns the first of these fields that is a list that isn't too long."""
    for name in names:
        value = config.get(name)
        if isinstance(value, list | tuple) and len(value) <= LONGEST_LIST:
            return list(value)
    return None


def needed(field: str, config: Config, *names: str, least: int = 1, most: int = MOST) -> int:
    """Returns a number that nothing can be computed without; `field` is its name in spec.model.facts."""
    value = whole(config, *names, least=least, most=most)
    if value is None:
        raise Unclear(field)
    return value
