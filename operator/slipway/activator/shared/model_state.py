"""What the rest of the activator tells the data path of each deployment, and who hears of it.

Whoever watches the cluster calls `tell` and `forget`; the data path listens. All in one event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from slipway.activator.shared.hold_limits import HoldLimits
from slipway.activator.shared.model_key import ModelKey
from slipway.activator.shared.replica import Replica
from slipway.activator.shared.request_rules import RequestRules
from slipway.api.reasons import Reason
from slipway.observing.cause import Cause


@dataclass(frozen=True, kw_only=True)
class ModelState:
    """One deployment, as far as requests for it are concerned."""

    deployment: ModelKey
    port: int  # on which its requests come in
    rules: RequestRules = field(default_factory=RequestRules)
    limits: HoldLimits = field(default_factory=HoldLimits)
    replicas: tuple[Replica, ...] = ()  # those that are ready, and no others are ever asked
    cause: Cause | None = None
    """What keeps a replica from being ready. A final one refuses every request, so it must not outlive what it was
    about: once the pod is gone or the spec has changed, the next request must find none, or nothing is tried again.
    """
    step: Reason | None = None  # what the pod is doing on its way to be ready
    expected_wake: float | None = None  # seconds from the first request to a ready replica, if one was ever seen
    target_per_replica: float = 1.0
    in_use: bool = False  # whether it is to be kept active for other reasons than requests that are here
    sent_to_sleep: datetime | None = None  # what was before then keeps it active no more
    running: float = 0.0  # requests that the engines have, wherever they came from
    is_direct: bool = False  # whether the Service leads past us; then our clients are sent there after each answer


ModelStateListener = Callable[[ModelKey, ModelState | None], None]


class ModelStates:
    def __init__(self) -> None:
        self._known: dict[ModelKey, ModelState] = {}
        self._listeners: list[ModelStateListener] = []

    def __iter__(self) -> Iterator[ModelState]:
        return iter(self._known.values())

    def of(self, deployment: ModelKey) -> ModelState | None:
        return self._known.get(deployment)

    def tell(self, known: ModelState) -> None:
        """Replaces what was known. Listeners hear of changes only."""
        if self._known.get(known.deployment) != known:
            self._known[known.deployment] = known
            self._notify(known.deployment, known)

    def forget(self, deployment: ModelKey) -> None:
        if self._known.pop(deployment, None):
            self._notify(deployment, None)

    def listen(self, listener: ModelStateListener) -> Callable[[], None]:
        """Calls back for each that is known, and at each change (None: it is gone); returns how to stop."""
        self._listeners.append(listener)
        for known in list(self._known.values()):
            listener(known.deployment, known)
        return lambda: self._listeners.remove(listener)

    def _notify(self, deployment: ModelKey, known: ModelState | None) -> None:
        for listener in list(self._listeners):
            listener(deployment, known)
