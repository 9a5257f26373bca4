"""Whether the engine makes progress: found out from what can be seen from outside, and only computed here.

An engine that has work makes progress when some count of it moves. Where the processors do the computing, to want
their time counts as progress too: a long prompt there takes minutes before the first count moves, the more so where
others have the processors. An engine without work makes progress when it answers.

To wait for a processor counts only beside time spent on one: where many want the processors, each thread that wakes for
a moment waits long for that moment, and a hung engine's idle threads would together seem busy.
"""

from __future__ import annotations

from dataclasses import dataclass

BUSY = 0.3  # of one processor's time: less is what an engine wants while it waits
CROWD = 10.0  # seconds of waiting that are believed for one on a processor


@dataclass(frozen=True, kw_only=True)
class Sample:
    at: float
    answers: bool  # its health check did
    has_work: bool  # by its own word, or else by the guard's
    counts: tuple[float | None, ...]  # requests that it answered, tokens, steps: whatever is counted of its work
    spent: float  # seconds on processors
    waited: float  # seconds in which a thread could have run, had there been a processor for it


class Pulse:
    def __init__(self, *, stuck_after: float, computes_on_cpus: bool) -> None:
        self._stuck_after = stuck_after
        self._computes_on_cpus = computes_on_cpus
        self._last: Sample | None = None
        self._alive_at = 0.0

    def feel(self, sample: Sample) -> str | None:
        """What is wrong, in a sentence, once it is sure."""
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
        """Seconds since the last sign of life."""
        return now - self._alive_at if self._last else 0.0

    def _is_alive(self, sample: Sample, before: Sample) -> bool:
        if sample.answers and not sample.has_work:
            return True
        if sample.counts != before.counts:
            return True
        spent, waited = sample.spent - before.spent, sample.waited - before.waited
        wanted = spent + min(waited, CROWD * spent)
        return self._computes_on_cpus and wanted > BUSY * (sample.at - before.at)
