"""Which model the Hub is asked about next, and how many of them may wait. Pure: time and chance are arguments.

Namespaces take turns, so that one with thousands of models doesn't keep those of the others waiting. Of each, only a
few wait at a time. The next one is queued when a place becomes free.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from slipway.api.model_key import ModelKey

MOST_OF_A_NAMESPACE = 50
MOST = 1_000
AT_FIRST = 8  # requests that may follow each other immediately
EVERY = 0.5  # seconds between two requests, on average, after these

Wanted = tuple[str, str]  # ORGANIZATION/MODEL and the revision


class HubQueue:
    """The files that are wanted, and by which LLMDeployments: those that wait in it, and those that found no place."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, OrderedDict[Wanted, None]] = OrderedDict()  # by namespace; the next one is first
        self._waiting: dict[Wanted, set[ModelKey]] = {}  # also while it is fetched
        self._fetched: set[Wanted] = set()  # now
        self._left_out: dict[str, dict[ModelKey, None]] = {}  # by namespace, in their order

    def __len__(self) -> int:
        """How many are to be fetched."""
        return len(self._waiting) - len(self._fetched)

    def add(self, key: ModelKey, wanted: Wanted) -> bool:
        """False: there is no place for it now. `done` returns the key when there may be one."""
        turns = self._turns.get(key.namespace, OrderedDict())
        is_known = wanted in self._fetched or wanted in turns
        if not is_known and not self._has_place(len(turns)):
            self._left_out.setdefault(key.namespace, {}).setdefault(key)
            return False
        self.forget(key)
        if not is_known:
            self._turns.setdefault(key.namespace, turns)[wanted] = None
        self._waiting.setdefault(wanted, set()).add(key)
        return True

    def take(self) -> Wanted | None:
        """The next one to fetch: of the namespace whose last turn is the longest ago."""
        if not self._turns:
            return None
        namespace, files = self._turns.popitem(last=False)
        wanted, _ = files.popitem(last=False)
        if files:
            self._turns[namespace] = files
        self._remove_from_others(wanted)
        self._fetched.add(wanted)
        return wanted

    def forget(self, key: ModelKey) -> None:
        """It waits for no place any more."""
        keys = self._left_out.get(key.namespace, {})
        keys.pop(key, None)
        if not keys:
            self._left_out.pop(key.namespace, None)

    def done(self, wanted: Wanted) -> tuple[Collection[ModelKey], Collection[ModelKey]]:
        """It was fetched. Returns the LLMDeployments that want it, and those for which there may be a place now."""
        self._fetched.discard(wanted)
        return self._waiting.pop(wanted, set()), self._next_left_out()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _has_place(self, of_namespace: int) -> bool:
        """Where all are taken, a namespace that has none still gets one."""
        return of_namespace < MOST_OF_A_NAMESPACE and (len(self) < MOST or of_namespace == 0)

    def _remove_from_others(self, wanted: Wanted) -> None:
        for namespace in [each for each, files in self._turns.items() if wanted in files]:
            del self._turns[namespace][wanted]
            if not self._turns[namespace]:
                del self._turns[namespace]

    def _next_left_out(self) -> list[ModelKey]:
        """Of each namespace as many as it has free places; all, if none of its files waits: one that no longer wants a
        place takes none, and without a file that waits there is no next time."""
        found = []
        for namespace, keys in self._left_out.items():
            waiting = len(self._turns.get(namespace, ()))
            free = max(1, MOST_OF_A_NAMESPACE - waiting) if waiting else len(keys)
            found += list(keys)[:free]
        for key in found:
            self.forget(key)
        return found


class Pace:
    """How fast requests may follow each other, so that a restart, after which all models are asked about again, isn't
    a flood."""

    def __init__(self) -> None:
        self._next_at = float("-inf")

    def pause(self, now: float, jitter: float) -> float:
        """The seconds until the next request may be sent. `jitter`: from 0 to 1."""
        at = max(self._next_at, now - (AT_FIRST - 1) * EVERY)
        self._next_at = at + EVERY * (0.5 + jitter)
        return max(0.0, at - now)

    def wait_until(self, at: float) -> None:
        """The Hub has requested a pause."""
        self._next_at = max(self._next_at, at)
