"""What each replica needed, and the table of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from percentiles import percentile

REPLICAS = ("1st", "2nd", "3rd")


@dataclass(frozen=True)
class Start:
    """Of one replica: bytes over the network, and seconds until its pod was ready."""

    received: int
    seconds: float


Starts = Sequence[Sequence[Start]]
"""Of one contender: for each round, the starts of its replicas."""


def table(rounds: Mapping[str, Starts], *, size: int, compared_with: str) -> Iterator[str]:
    """Bytes as multiples of the model's files; seconds also as a ratio to the same replica of one contender."""
    yield "| weights | " + " | ".join(f"bytes, {each}" for each in REPLICAS) + " | " + _heads() + " |"
    yield "|---" * (1 + 2 * len(REPLICAS)) + "|"
    theirs = [_seconds(rounds[compared_with], number) for number in range(len(REPLICAS))]
    for name, starts in rounds.items():
        traffic = [_traffic(starts, number, size) for number in range(len(REPLICAS))]
        times = []
        for number in range(len(REPLICAS)):
            own = _seconds(starts, number)
            ratio = percentile(own, 50) / percentile(theirs[number], 50)
            times.append(f"{percentile(own, 50):.1f} ({min(own):.1f} to {max(own):.1f}), {ratio:.2f}")
        yield f"| {name} | {' | '.join(traffic)} | {' | '.join(times)} |"


def _heads() -> str:
    return " | ".join(f"seconds, {each}: p50 (least to most), ratio" for each in REPLICAS)


def _traffic(starts: Starts, number: int, size: int) -> str:
    shares = sorted(each[number].received / size for each in starts)
    least, most = f"{shares[0]:.2f}", f"{shares[-1]:.2f}"
    return least if least == most else f"{least} to {most}"


def _seconds(starts: Starts, number: int) -> list[float]:
    return [each[number].seconds for each in starts]
