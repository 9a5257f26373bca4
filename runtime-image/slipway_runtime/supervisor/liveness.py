"""Decides whether the engine makes progress, from observations of it. Nothing here observes.

An engine that has work makes progress when one of its counts moves. Where the engine computes on CPUs, its demand for
CPU time counts as progress too: a long prompt takes minutes there before the first count moves, and longer when other
processes use the CPUs. An engine without work makes progress when it answers its health check.

Time spent waiting for a CPU only counts in proportion to time spent on one. On a busy machine every thread that wakes
up briefly waits a long time for its turn, so the idle threads of a hung engine would together look busy.
"""

from __future__ import annotations

from dataclasses import dataclass

BUSY = 0.3  # of one CPU's time: an engine that only waits uses less
CROWD = 10.0  # seconds of waiting that are counted at most for each second on a CPU


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One observation of the engine."""

    at: float
    answers: bool  # it has answered its health check
    has_work: bool  # as its own metrics say; where they don't, as the guards say
    counts: tuple[float | None, ...]  # answered requests, tokens, steps: everything that counts its work
    spent: float  # seconds on CPUs
    waited: float  # seconds in which a thread was runnable and had no CPU


class LivenessMonitor:
    """Remembers the last sign of life; lives as long as the engine."""

    def __init__(self, *, stuck_after: float, computes_on_cpus: bool) -> None:
        self._stuck_after = stuck_after
        self._computes_on_cpus = computes_on_cpus
        self._last: Sample | None = None
        self._alive_at = 0.0

    def observe(self, sample: Sample) -> str | None:
        """Returns what is wrong, as a sentence, once that is certain."""
        if self._last is None or self._is_alive(sample, self._last):
            self._alive_at = sample.at
        self._last = sample
        silent = sample.at - self._alive_at
        if silent < self._stuck_after:
            return None
        if sample.answers:
            return f"The engine has requests, and for {silent:.0f} seconds it has not worked on any of them."
        return f"The engine has not answered its health check, nor worked on a request, for {silent:.0f} seconds."

    def silence(self, now: float) -> float:
        """Returns the seconds since the last sign of life."""
        return now - self._alive_at if self._last else 0.0

    def _is_alive(self, sample: Sample, before: Sample) -> bool:
        if sample.answers and not sample.has_work:
            return True
        if sample.counts != before.counts:
            return True
        spent, waited = sample.spent - before.spent, sample.waited - before.waited
        wanted = spent + min(waited, CROWD * spent)
        return self._computes_on_cpus and wanted > BUSY * (sample.at - before.at)
