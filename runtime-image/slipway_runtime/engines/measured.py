"""What an engine says of its memory in its log, as numbers with the names that `/info` has for them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from slipway_runtime.contract.pod import MEASURED_BYTES, MEASURED_TOKENS

UNITS = {"GiB": 1 << 30, "MiB": 1 << 20}


def measured_in(facts: Mapping[str, str]) -> dict[str, int]:
    """Of the facts, those with a known name: `weightsGiB` becomes `weights`, in bytes. A number that isn't one, such as
    a graph that freed memory, is left out."""
    found = {MEASURED_TOKENS: _tokens(facts), **{name: _bytes(facts, name) for name in MEASURED_BYTES}}
    if "graphsLater" in facts:
        found["graphs"] = None  # vLLM logs only what those take that it captures before it is ready
    return {name: number for name, number in found.items() if number}


def _tokens(facts: Mapping[str, str]) -> int | None:
    """llama.cpp reports them for each slot; or for all together, if the slots share the cache."""
    if MEASURED_TOKENS in facts:
        return _times(facts[MEASURED_TOKENS], 1)
    each = _times(facts.get("contextLength", ""), 1)
    slots = 1 if facts.get("kvUnified") == "true" else _times(facts.get("slots", ""), 1)
    return each * slots if each and slots else None


def _bytes(facts: Mapping[str, str], name: str) -> int | None:
    return next((_times(facts[name + unit], size) for unit, size in UNITS.items() if name + unit in facts), None)


def _times(text: str, unit: int) -> int | None:
    try:
        number = float(text.replace(",", "")) * unit
    except ValueError:
        return None
    return round(number) if 0 < number < 1 << 60 else None
