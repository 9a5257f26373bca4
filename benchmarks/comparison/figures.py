"""The results as tables in Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from percentiles import percentile

STEPS = {
    "asked → Deployment scaled": ("told", "scaled"),
    "scaled → its process runs": ("created", "scheduled", "started"),
    "runs → ready, the model is loaded": ("ready",),
    "ready → first token": ("answered",),
}
"""The steps of a wake as the table names them, each the sum of steps of `wakes.moments`."""


@dataclass
class Responses:
    """The generated text of all responses, each once, and the errors of those that were lost."""

    texts: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.texts:
            self.texts.append(text)


@dataclass
class Wakes(Responses):
    """The wakes of one contender."""

    rows: list[dict[str, float]] = field(default_factory=list)

    def seconds(self, *steps: str) -> list[float]:
        return [sum(row[step] for step in steps) for row in self.rows]


@dataclass
class WarmRequests(Responses):
    """Requests to one endpoint of a replica that is awake, in seconds."""

    latencies: list[float] = field(default_factory=list)


def wakes_table(sides: Mapping[str, Wakes]) -> Iterator[str]:
    yield from _head("a request at zero, seconds", list(sides))
    yield _row("wakes", [str(len(side.rows) + len(side.lost)) for side in sides.values()])
    yield _row("lost", [str(len(side.lost)) for side in sides.values()])
    for percent in (50, 95):
        yield _row(f"asked → first token, p{percent}", _told(sides, "whole", percent=percent))
    yield _row("… the shortest and the longest", [_range(side.seconds("whole")) for side in sides.values()])
    for words, steps in STEPS.items():
        yield _row(f"{words}, p50", _told(sides, *steps, percent=50))


def _told(sides: Mapping[str, Wakes], *steps: str, percent: int) -> list[str]:
    return [f"{percentile(side.seconds(*steps), percent):.2f}" for side in sides.values()]


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}" if values else ""


def warm_table(lines: Mapping[str, WarmRequests]) -> Iterator[str]:
    """The first endpoint is the one that the others are compared with."""
    base = next(iter(lines.values()))
    yield from _head("a warm request, ms to the first token", list(lines))
    yield _row("requests", [str(len(line.latencies) + len(line.lost)) for line in lines.values()])
    yield _row("lost", [str(len(line.lost)) for line in lines.values()])
    for percent in (50, 99):
        yield _row(f"p{percent}", [f"{_ms(line, percent):.2f}" for line in lines.values()])
    for percent in (50, 99):
        added = [f"{_ms(line, percent) - _ms(base, percent):+.2f}" for line in lines.values() if line is not base]
        yield _row(f"added, p{percent}", ["", *added])


def _ms(line: WarmRequests, percent: int) -> float:
    return percentile(line.latencies, percent) * 1000


def different_texts(several: Iterable[Responses]) -> int:
    return len({text for each in several for text in each.texts})


def _head(title: str, names: Sequence[str]) -> list[str]:
    return [_row(title, names), "|---" * (1 + len(names)) + "|"]


def _row(title: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([title, *cells])} |"
