"""How long each state of a pod may last; the pod's grace period has to cover those after SIGTERM."""

from __future__ import annotations

from dataclasses import dataclass

from .state import State


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Seconds."""

    start: float = 1740  # a minute less than the startup probe allows, so that the pod still says why
    endpoints: float = 3  # from SIGTERM until every Service, proxy and gateway has taken the pod off its list
    drain: float = 120  # for what is in flight, after that
    cut: float = 2  # for the errors that end what is still in flight to reach its clients

    def of(self, state: State) -> float | None:
        """None: for ever."""
        return {
            State.STARTING: self.start,
            State.LEAVING: self.endpoints,
            State.DRAINING: self.drain,
            State.CUTTING: self.cut,
        }.get(state)
