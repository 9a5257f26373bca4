"""What is counted of one LLMDeployment while this replica leads. Pure.

Each event is counted once, by the leader that sees it. Nothing is counted again by the next leader: it counts starts
by the statuses that it writes itself, and takes the failures that it finds at first as known. So what is missing are
failures between the last reconcile of one leader and the first one of the next, and what Prometheus hadn't read yet of
a leader that has ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from slipway.api.reasons import Reason
from slipway.observing.failures import Failure
from slipway.observing.wakes import WakeResult

MOST_FAILURES = 1000  # that are known of one LLMDeployment at the same time, however many pods a tenant labels as its


@dataclass(slots=True)
class ModelCounts:
    """Lives as long as the `ModelMemory`."""

    wakes: Counter[WakeResult] = field(default_factory=Counter)
    woken_at: dict[WakeResult, float] = field(default_factory=dict)  # seconds since the epoch, as below
    failed_in_a_row: int = 0  # starts since the last one that succeeded
    failures: Counter[Reason] = field(default_factory=Counter)
    failed_at: dict[Reason, float] = field(default_factory=dict)
    _ends: dict[tuple[str, str], str] | None = None  # by pod and container; None: nothing has been seen yet

    def woken(self, results: Iterable[WakeResult], now: datetime) -> None:
        """Starts from zero that have ended."""
        for each in results:
            self.wakes[each] += 1
            self.woken_at[each] = now.timestamp()
            self.failed_in_a_row = self.failed_in_a_row + 1 if each == WakeResult.FAILED else 0

    def see(self, failures: Iterable[Failure], *, pods: Container[str], now: datetime) -> None:
        """`failures`: all that the pods show now; `pods`: the uids of those that exist."""
        known = {place: end for place, end in (self._ends or {}).items() if place[0] in pods}
        for each in islice(failures, MOST_FAILURES):
            place = each.pod, each.container
            if place not in known and len(known) >= MOST_FAILURES:
                continue
            if self._ends is not None and known.get(place) != each.end:
                self.failures[each.reason] += 1
            known[place] = each.end
            at = min(each.at or now, now).timestamp()
            self.failed_at[each.reason] = max(at, self.failed_at.get(each.reason, at))
        self._ends = known
