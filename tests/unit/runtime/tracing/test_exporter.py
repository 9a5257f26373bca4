"""Spans on their way to a collector that accepts them, refuses them, or isn't there."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

import pytest
from slipway_runtime.tracing.collector import ExportOutcome
from slipway_runtime.tracing.context import trace_of
from slipway_runtime.tracing.exporter import ROOM, Exporter
from slipway_runtime.tracing.spans import Span
from support.fakes.otlp_collector import from_json, received

WELL, BUSY, WRONG = (
    ExportOutcome(),
    ExportOutcome("it answered with 503", again=True),
    ExportOutcome("it answered with 400"),
)
PATIENCE = 60.0


@dataclass
class Scripted:
    """Returns the scripted outcomes, the last one repeatedly; holds each until it may continue."""

    outcomes: list[ExportOutcome]
    names: list[list[str]] = field(default_factory=list)
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    may_answer: threading.Event = field(default_factory=threading.Event)

    def take(self, body: bytes) -> ExportOutcome:
        self.names.append([span.name for span in received(from_json(body))])
        self.asked.release()
        assert self.may_answer.wait(PATIENCE)
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]


@dataclass
class Sent:
    """An exporter, and its log and metrics."""

    collector: Scripted
    exporter: Exporter
    counted: Counter[str]
    log: list[str]


def exporting(*outcomes: ExportOutcome, at_once: bool = True) -> Sent:
    collector, counted, log = Scripted(list(outcomes)), Counter[str](), list[str]()
    if at_once:
        collector.may_answer.set()

    def count(outcome: str, number: int) -> None:
        counted[outcome] += number

    exporter = Exporter(collector, {}, count=count, say=log.append, gather=0, pauses=(0, 0))
    return Sent(collector, exporter, counted, log)


def spans(*names: str) -> list[Span]:
    return [Span(name=name, trace=trace_of(None), start=0, end=1) for name in names]


def test_spans_are_sent_and_counted() -> None:
    sent = exporting(WELL)
    sent.exporter.add(spans("one", "two"))
    sent.exporter.close(PATIENCE)
    assert sent.collector.names == [["one", "two"]]
    assert sent.counted == {"sent": 2}
    assert sent.log == []


def test_spans_that_arrive_while_others_are_sent_go_with_the_next_batch() -> None:
    sent = exporting(WELL, at_once=False)
    sent.exporter.add(spans("one"))
    assert sent.collector.asked.acquire(timeout=PATIENCE)
    sent.exporter.add(spans("two"))
    sent.exporter.add(spans("three"))
    sent.collector.may_answer.set()
    sent.exporter.close(PATIENCE)
    assert sent.collector.names == [["one"], ["two", "three"]]


def test_a_busy_collector_is_retried() -> None:
    sent = exporting(BUSY, WELL)
    sent.exporter.add(spans("one"))
    for _ in range(2):
        assert sent.collector.asked.acquire(timeout=PATIENCE)
    sent.exporter.close(PATIENCE)
    assert sent.counted == {"sent": 1}
    assert sent.log == ["Traces can't be sent: it answered with 503.", "Traces are sent again."]


def test_a_problem_is_logged_once_and_a_batch_is_dropped_after_some_attempts() -> None:
    sent = exporting(BUSY)
    sent.exporter.add(spans("one"))
    for _ in range(3):
        assert sent.collector.asked.acquire(timeout=PATIENCE)
    sent.exporter.close(PATIENCE)
    assert sent.counted == {"dropped": 1}
    assert sent.log == ["Traces can't be sent: it answered with 503."]


def test_a_batch_that_the_collector_refuses_is_not_sent_again() -> None:
    sent = exporting(WRONG)
    sent.exporter.add(spans("one", "two"))
    sent.exporter.close(PATIENCE)
    assert (len(sent.collector.names), sent.counted) == (1, {"dropped": 2})


def test_spans_without_room_are_dropped_and_nothing_blocks() -> None:
    sent = exporting(WELL, at_once=False)
    sent.exporter.add(spans("first"))
    assert sent.collector.asked.acquire(timeout=PATIENCE)
    sent.exporter.add(spans(*["fills"] * ROOM))
    sent.exporter.add(spans("one", "too many"))
    assert sent.counted == {"dropped": 2}
    sent.collector.may_answer.set()
    sent.exporter.close(PATIENCE)
    assert sent.counted == {"dropped": 2, "sent": ROOM + 1}


@pytest.mark.parametrize("outcome", [BUSY, WELL])
def test_the_shutdown_waits_no_longer_than_its_limit(outcome: ExportOutcome) -> None:
    sent = exporting(outcome, at_once=False)
    sent.exporter.add(spans("one"))
    sent.exporter.close(0)  # which returns, though the collector has not responded
    assert not sent.counted
    sent.collector.may_answer.set()
    sent.exporter.close(PATIENCE)


def test_an_exporter_without_spans_starts_no_thread() -> None:
    before = threading.active_count()
    sent = exporting(WELL)
    assert threading.active_count() == before
    sent.exporter.close()
    assert sent.collector.names == []
