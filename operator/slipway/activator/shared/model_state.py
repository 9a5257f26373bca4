"""What is known of each model, as far as requests for it are concerned: tracking updates it, the proxy listens. Pure.

All of it belongs to one event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from slipway.activator.shared.hold_limits import HoldLimits
from slipway.activator.shared.replica import Replica
from slipway.activator.shared.request_rules import RequestRules
from slipway.api.model_key import ModelKey
from slipway.api.reasons import Reason
from slipway.observing.cause import Cause


@dataclass(frozen=True, kw_only=True)
class ModelState:
    """One model at one moment."""

    key: ModelKey
    port: int  # on which requests for it arrive
    rules: RequestRules = field(default_factory=RequestRules)
    limits: HoldLimits = field(default_factory=HoldLimits)
    replicas: tuple[Replica, ...] = ()  # that are ready; requests are sent to no others
    cause: Cause | None = None
    """What keeps a replica from being ready. A final one refuses every request, so it must not outlast what it was
    about: once the pod is gone or the spec has changed, the next request must find none, or nothing is tried again.
    """
    step: Reason | None = None  # that the pod has reached on its way to be ready
    expected_wake: float | None = None  # seconds from the first request to a ready replica, if any wake was observed
    target_per_replica: float = 1.0
    in_use: bool = False  # whether it must stay active for other reasons than requests that are here
    sent_to_sleep: datetime | None = None  # what happened before doesn't keep it active any longer
    running: float = 0.0  # requests that the engines have, from here or directly
    refused_until: datetime | None = None  # its budget is spent: until then, no request may wake it or wait
    is_direct: bool = False  # the Service leads past us: clients are sent there by closing their connections


ModelStateListener = Callable[[ModelKey, ModelState | None], None]


class ModelStates:
    """The states of all models."""

    def __init__(self) -> None:
        self._states: dict[ModelKey, ModelState] = {}
        self._listeners: list[ModelStateListener] = []

    def __iter__(self) -> Iterator[ModelState]:
        return iter(self._states.values())

    def of(self, key: ModelKey) -> ModelState | None:
        return self._states.get(key)

    def update(self, state: ModelState) -> None:
        """Listeners are called for changes only."""
        if self._states.get(state.key) != state:
            self._states[state.key] = state
            self._notify(state.key, state)

    def forget(self, key: ModelKey) -> None:
        if self._states.pop(key, None):
            self._notify(key, None)

    def listen(self, listener: ModelStateListener) -> Callable[[], None]:
        """Calls back for each model that is known, and at each change (None: it is gone); returns how to stop."""
        self._listeners.append(listener)
        for state in list(self._states.values()):
            listener(state.key, state)
        return lambda: self._listeners.remove(listener)

    def _notify(self, key: ModelKey, state: ModelState | None) -> None:
        for listener in list(self._listeners):
            listener(key, state)
