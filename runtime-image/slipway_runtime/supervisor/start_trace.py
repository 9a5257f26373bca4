"""The start of a pod as a trace: one span from the process's start until it is ready or has failed, and within it one
span per phase, which ends when the phase is reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from slipway_runtime.failure import Failure
from slipway_runtime.supervisor.phases import Moment, PhaseRecorder
from slipway_runtime.supervisor.state import PodState
from slipway_runtime.tracing.context import Trace, trace_of
from slipway_runtime.tracing.spans import Attributes, Span
from slipway_runtime.tracing.start_record import StartRecord

if TYPE_CHECKING:
    from slipway_runtime.tracing.exporter import Exporter

PARENT = "TRACEPARENT"
"""The variable that gives a process its parent span: for process 1, and through it for the engine."""
END = {PodState.STOPPING.lower(), PodState.ENDED.lower()}
"""Phases that follow a failure."""


class StartTrace:
    """The trace of one start. Without an exporter nothing is traced."""

    def __init__(
        self, exporter: Exporter | None = None, *, parent: str | None = None, attributes: Attributes | None = None
    ) -> None:
        self._trace = trace_of(parent, share=1.0)
        self._exporter = exporter if self._trace.sampled else None
        self._attributes = attributes or {}
        self._is_told = False
        self.folder: Path | None = None
        """Where the guards of this engine find the record of the start."""

    @property
    def id(self) -> str | None:
        return self._trace.trace_id if self._exporter else None

    @property
    def traceparent(self) -> str | None:
        """The parent for spans of the start that others make: the engine, and the warm-up request."""
        return self._trace.traceparent() if self._exporter else None

    @property
    def environment(self) -> dict[str, str]:
        return {PARENT: self.traceparent} if self.traceparent else {}

    def ready(self, phases: PhaseRecorder, attributes: Attributes) -> None:
        if self._exporter and self.folder:
            moments = tuple((each.name, _unix_ns(each)) for each in phases.moments)
            with suppress(OSError):  # a full disk must not keep the pod from serving
                StartRecord(self._trace, moments).write(self.folder)
        self._tell(phases, attributes)

    def failed(self, phases: PhaseRecorder, failure: Failure) -> None:
        """Does nothing if the pod was ready before: then it was not the start that failed."""
        self._tell(phases, {}, failure)

    def close(self) -> None:
        if self._exporter:
            self._exporter.close()

    def _tell(self, phases: PhaseRecorder, attributes: Attributes, failure: Failure | None = None) -> None:
        if self._exporter and not self._is_told:
            self._is_told = True
            told = {**self._attributes, **attributes}
            self._exporter.add(spans_of(phases.moments, phases.seconds, self._trace, told, failure))


def spans_of(
    moments: Sequence[Moment], seconds: float, trace: Trace, attributes: Attributes, failure: Failure | None = None
) -> list[Span]:
    """Returns the spans. `seconds` since the process started is when it failed, if it did."""
    began = _unix_ns(moments[0])
    reached = [(moment.name, moment.seconds) for moment in moments]
    if failure:
        reached = [*(each for each in reached if each[0] not in END), ("failed", seconds)]
    error = f"{failure.reason}: {failure.message}" if failure else ""
    whole = Span(
        name="start",
        trace=trace,
        start=began,
        end=began + int(reached[-1][1] * 1e9),
        attributes={**attributes, **dict(_of_failure(failure))},
        error=error,
    )
    phases = (
        Span(
            name=name,
            trace=trace.child(),
            start=began + int(before * 1e9),
            end=began + int(at * 1e9),
            error=error if name == "failed" else "",
        )
        for (_, before), (name, at) in pairwise(reached)
    )
    return [whole, *phases]


def _unix_ns(moment: Moment) -> int:
    return int(moment.at.timestamp() * 1e6) * 1000  # the resolution of a datetime


def _of_failure(failure: Failure | None) -> Iterator[tuple[str, str]]:
    if failure:
        yield "error.type", failure.reason
        if failure.remedy:
            yield "slipway.remedy", failure.remedy
        if failure.phase:
            yield "slipway.phase", failure.phase
