"""From readings and stories to figures: per phase, as a table for people and as JSON for programs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from percentiles import percentile

from scale.process import Calls, Reading
from scale.story import Story

MB = 1_000_000
BUDGETS = {"applied p95, s": 60.0, "operator RSS, MB": 300.0, "writes per object": 8.0, "steady writes per minute": 0.0}


@dataclass(frozen=True)
class Spread:
    p50: float
    p95: float
    max: float
    count: int


@dataclass(frozen=True)
class Phase:
    """What one phase took. Calls are those of the operator, without its Lease."""

    name: str
    objects: int
    seconds: float
    applied: Spread | None
    true: Spread | None
    kserve: Spread | None
    gone: Spread | None
    missing: int  # objects that didn't come to the end of the phase in time
    writes: dict[str, int]  # by verb and kind
    reads: dict[str, int]
    refused: dict[str, int]  # answers from 400 on, by code and kind
    reconciles: dict[str, int]
    queue_oldest: float  # seconds: the longest wait for a worker that was seen
    cpu_seconds: float
    rss_mb: float
    rss_peak_mb: float

    @property
    def writes_per_object(self) -> float:
        return sum(self.writes.values()) / self.objects

    @property
    def reads_per_object(self) -> float:
        return sum(self.reads.values()) / self.objects

    @property
    def reconciles_per_object(self) -> float:
        return sum(self.reconciles.values()) / self.objects

    @property
    def writes_per_minute(self) -> float:
        return sum(self.writes.values()) / self.seconds * 60

    def as_json(self) -> dict[str, object]:
        rates = ("writes_per_object", "reads_per_object", "reconciles_per_object", "writes_per_minute")
        return asdict(self) | {rate: round(getattr(self, rate), 3) for rate in rates}


def phase_of(
    name: str, stories: Iterable[Story], before: Reading, after: Reading, *, oldest: float, missing: int
) -> Phase:
    told = list(stories)
    return Phase(
        name=name,
        objects=len(told),
        seconds=round(after.at - before.at, 2),
        applied=spread(since_asked(story, story.applied_at()) for story in told),
        true=spread(since_asked(story, story.true) for story in told),
        kserve=spread(story.made_after() for story in told),
        gone=spread(since_asked(story, story.gone) for story in told),
        missing=missing,
        writes=_named(after.writes() - before.writes()),
        reads=_named(after.reads() - before.reads()),
        refused=_named(after.refused - before.refused),
        reconciles=dict(after.reconciles - before.reconciles),
        queue_oldest=round(oldest, 2),
        cpu_seconds=round(after.cpu_seconds - before.cpu_seconds, 2),
        rss_mb=round(after.rss / MB, 1),
        rss_peak_mb=round(after.rss_peak / MB, 1),
    )


def since_asked(story: Story, moment: float | None) -> float | None:
    return moment - story.asked if moment is not None and story.asked else None


def spread(values: Iterable[float | None]) -> Spread | None:
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    p50, p95, most = (round(value, 3) for value in (percentile(known, 50), percentile(known, 95), known[-1]))
    return Spread(p50, p95, most, len(known))


def _named(calls: Calls) -> dict[str, int]:
    return {" ".join(call): count for call, count in sorted(calls.items())}


# --- for people ------------------------------------------------------------------------------------------------------

COLUMNS = ("phase", "seconds", "applied p50/p95", "true p50/p95", "KServe p50/p95", "gone p50/p95", "writes/obj",
           "reads/obj", "turns/obj", "queue age", "CPU s", "RSS MB", "missing")  # fmt: skip


def table(phases: Sequence[Phase]) -> Iterator[str]:
    rows = [COLUMNS, *(_row(phase) for phase in phases)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        yield "  ".join([row[0].ljust(widths[0]), *(map(str.rjust, row[1:], widths[1:]))])


def _row(phase: Phase) -> tuple[str, ...]:
    return (
        phase.name,
        f"{phase.seconds:.1f}",
        *map(_pair, (phase.applied, phase.true, phase.kserve, phase.gone)),
        f"{phase.writes_per_object:.2f}",
        f"{phase.reads_per_object:.2f}",
        f"{phase.reconciles_per_object:.2f}",
        f"{phase.queue_oldest:.1f}",
        f"{phase.cpu_seconds:.1f}",
        f"{phase.rss_peak_mb:.0f}",
        str(phase.missing),
    )


def _pair(values: Spread | None) -> str:
    return f"{values.p50:.1f} / {values.p95:.1f}" if values else ""


def calls_told(phases: Sequence[Phase]) -> Iterator[str]:
    for phase in phases:
        for what, calls in (("writes", phase.writes), ("reads", phase.reads), ("refused", phase.refused)):
            if calls:
                told = ", ".join(f"{call} {count}" for call, count in Counter(calls).most_common())
                yield f"{phase.name}, {what}: {told}"


def against_budgets(phases: Sequence[Phase]) -> Iterator[tuple[str, float, float]]:
    """Each budget: its name, what was measured, and the budget."""
    by_name = {phase.name: phase for phase in phases}
    create, steady = by_name.get("create"), by_name.get("steady")
    measured: dict[str, float] = {"operator RSS, MB": max(phase.rss_peak_mb for phase in phases)}
    if create and create.applied:
        measured |= {"applied p95, s": create.applied.p95, "writes per object": create.writes_per_object}
    if steady:
        measured["steady writes per minute"] = steady.writes_per_minute
    for name, value in measured.items():
        yield name, round(value, 2), BUDGETS[name]
