"""Sends spans from a separate thread: no traced work ever waits for the collector, or fails because of it."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, Self

from slipway_runtime.tracing import collector as collectors
from slipway_runtime.tracing.collector import ExportOutcome
from slipway_runtime.tracing.spans import Attributes, Span, encoded

BATCH = 512  # spans in one POST
ROOM = 4096  # spans that wait for the collector; further ones are dropped
GATHER = 1.0  # seconds between the first waiting span and its sending, so that others join it
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds between retries; after the last one a batch is dropped
AT_THE_END = 1.0  # seconds for what is left


class SpanReceiver(Protocol):
    def take(self, body: bytes) -> ExportOutcome: ...


Count = Callable[[str, int], None]
"""Called with "sent" or "dropped", and the number of spans."""


class Exporter:
    def __init__(
        self,
        collector: SpanReceiver,
        resource: Attributes,
        *,
        count: Count = lambda _, __: None,
        say: Callable[[str], None] | None = None,
        gather: float = GATHER,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._collector, self._resource = collector, resource
        self._count, self._say = count, say or _say
        self._gather, self._pauses = gather, pauses
        self._waiting: deque[Span] = deque()
        self._news, self._end = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._troubled = False

    @classmethod
    def to(cls, endpoint: str, *, count: Count = lambda _, __: None) -> Self:
        """Creates one by this process's environment."""
        resource = collectors.resource(host=os.uname().nodename)
        return cls(collectors.Collector.of(endpoint), resource, count=count)

    def add(self, spans: Sequence[Span]) -> None:
        if len(self._waiting) + len(spans) > ROOM:
            self._count("dropped", len(spans))
            return
        self._waiting.extend(spans)
        if self._thread is None:  # not earlier, since a fork would lose the thread
            self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
            self._thread.start()
        if not self._news.is_set():
            self._news.set()

    def close(self, patience: float = AT_THE_END) -> None:
        """Sends what is left, as far as there is time."""
        self._end.set()
        self._news.set()
        if self._thread:
            self._thread.join(patience)

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._end.wait(self._gather)
            self._news.clear()
            while self._waiting:
                self._deliver([self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))])
            if self._end.is_set() and not self._waiting:
                return

    def _deliver(self, batch: list[Span]) -> None:
        body = encoded(batch, self._resource)
        outcome = self._take(body)
        for pause in self._pauses:
            if not outcome.again or self._end.wait(pause):
                break
            outcome = self._take(body)
        self._count("dropped" if outcome.trouble else "sent", len(batch))

    def _take(self, body: bytes) -> ExportOutcome:
        outcome = self._collector.take(body)
        if bool(outcome.trouble) != self._troubled:
            self._troubled = bool(outcome.trouble)
            news = f"can't be sent: {outcome.trouble}" if outcome.trouble else "are sent again"
            self._say(f"Traces {news}.")
        return outcome


def _say(sentence: str) -> None:
    sys.stderr.write(f"slipway-runtime: {sentence}\n")
    sys.stderr.flush()
