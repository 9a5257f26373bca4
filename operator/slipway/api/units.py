"""Durations and quantities of Kubernetes, from and to numbers. A string that is neither is a ValueError."""

from __future__ import annotations

import re
from decimal import Decimal, DecimalException

DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
QUANTITY = r"^[+-]?[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?$"

_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
_DECIMAL = {letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", start=1)}
_BINARY = {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)}
_SUFFIXES = {"m": Decimal("0.001"), **_DECIMAL, **_BINARY}


def seconds(text: str) -> float:
    """`1h30m` as 5400.0."""
    if not re.fullmatch(DURATION, text):
        raise ValueError(f"{text!r} is not a duration such as 90s, 10m or 1h30m")
    found = re.findall(r"([0-9.]+)(ms|s|m|h)", text)
    try:
        return float(sum(Decimal(number) * _SECONDS[unit] for number, unit in found))
    except DecimalException:
        raise ValueError(f"{text:.32} is too long for a duration") from None


def amount(text: str | int) -> Decimal:
    """`64Mi` as 67108864, `250m` as 0.25."""
    text = str(text)
    if not re.fullmatch(QUANTITY, text):
        raise ValueError(f"{text!r} is not a quantity such as 64Mi, 24Gi or 250m")
    suffix = next((suffix for suffix in ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei", *_SUFFIXES) if text.endswith(suffix)), "")
    try:
        return Decimal(text.removesuffix(suffix)) * _SUFFIXES.get(suffix, Decimal(1))
    except DecimalException:
        raise ValueError(f"{text:.32} is too large for a quantity") from None


def quantity(count: int) -> str:
    """Bytes as the shortest exact quantity: 67108864 as `64Mi`."""
    unit = next((unit for unit in ("Ti", "Gi", "Mi", "Ki") if count and count % _BINARY[unit] == 0), "")
    return f"{count // int(_BINARY[unit])}{unit}" if unit else str(count)


def about(count: int) -> str:
    """Bytes as a quantity for people: `14.97Gi`, or in Mi below 1 GiB."""
    return f"{count / 2**30:.2f}Gi" if count >= 2**30 else f"{count / 2**20:.0f}Mi"


def duration(length: float) -> str:
    """Whole seconds as `1h30m`, rounded up."""
    minutes, rest = divmod(-int(-length // 1), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"
