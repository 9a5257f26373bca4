"""How the plan writes numbers: as people on call read them. Pure."""

from __future__ import annotations

from slipway.operator.planning.memory.settings import GIB, MIB


def gib(count: float) -> str:
    """`78.3 GiB`; small amounts in MiB."""
    return f"{count / GIB:.1f} GiB" if abs(count) >= GIB / 10 else f"{count / MIB:.0f} MiB"


def number(count: float) -> str:
    """`131,072`."""
    return f"{int(count):,}"


def times(count: int, one: str, many: str = "") -> str:
    """`1 request`, `3 requests`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def joined(parts: list[str]) -> str:
    """`a, b or c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def listed(parts: list[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
