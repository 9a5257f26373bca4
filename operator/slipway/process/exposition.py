"""Writes metrics of which each of very many objects has a few lines, in Prometheus' text format. Pure.

All lines of a metric must follow one another, while all lines of an object are best computed at once. So lines are
collected by metric, in small steps of a few objects each, and written when all objects have been read.
prometheus_client would need a dict of labels for each line, and takes several times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

OBJECTS_PER_STEP = 10
LINES_PER_PIECE = 1000
INFINITY = float("inf")

T = TypeVar("T")


class Description(NamedTuple):
    """One metric: for the documentation, and for what is written before its lines."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


class Distribution(NamedTuple):
    """The value of a histogram: how many observations were in each bucket alone, and their sum."""

    bounds: Sequence[float]  # without infinity
    counts: Sequence[int]  # one more than bounds
    sum: float


class Sample(NamedTuple):
    metric: Description
    labels: tuple[str, ...]  # their values
    value: float | Distribution


class ObjectMetrics(NamedTuple, Generic[T]):
    """Metrics of objects: `objects` returns those that there are now, `read` the samples of one of them."""

    metrics: Sequence[Description]
    objects: Callable[[], Iterable[T]]
    read: Callable[[T], Iterable[Sample]]

    def in_steps(self) -> Iterator[bytes]:
        """Pieces of the page; most are empty, and end a step in which nothing is written yet."""
        lines: dict[str, list[str]] = {each.name: [] for each in self.metrics}
        pieces: dict[str, list[bytes]] = {each.name: [] for each in self.metrics}
        for number, each in enumerate(self.objects(), start=1):
            for sample in self.read(each):
                _write(sample, lines[sample.metric.name])
            if number % OBJECTS_PER_STEP == 0:
                _pack_long(lines, pieces)
                yield b""
        for metric in self.metrics:
            yield _head(metric).encode()
            yield from pieces[metric.name]
            yield "".join(lines[metric.name]).encode()


def _pack_long(lines: dict[str, list[str]], pieces: dict[str, list[bytes]]) -> None:
    """Lines take several times as much memory as the piece that is made of them."""
    for name, collected in lines.items():
        if len(collected) >= LINES_PER_PIECE:
            pieces[name].append("".join(collected).encode())
            collected.clear()


def _head(metric: Description) -> str:
    words = metric.help.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {metric.name} {words}\n# TYPE {metric.name} {metric.kind}\n"


def _write(sample: Sample, lines: list[str]) -> None:
    metric, values, value = sample
    labels = [f'{name}="{_escaped(each)}"' for name, each in zip(metric.labels, values, strict=True)]
    if not isinstance(value, Distribution):
        lines.append(_line(metric.name, labels, value))
        return
    so_far = 0
    for bound, count in zip((*value.bounds, INFINITY), value.counts, strict=True):
        so_far += count
        lines.append(_line(f"{metric.name}_bucket", [*labels, f'le="{_number(bound)}"'], so_far))
    lines.append(_line(f"{metric.name}_sum", labels, value.sum))
    lines.append(_line(f"{metric.name}_count", labels, so_far))


def _line(name: str, labels: list[str], value: float) -> str:
    return f"{name}{{{','.join(labels)}}} {_number(value)}\n" if labels else f"{name} {_number(value)}\n"


def _number(value: float) -> str:
    return "+Inf" if value == INFINITY else repr(+value)  # True is 1


def _escaped(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value
