"""How long a pod may stay in each state. The pod's grace period has to cover those after SIGTERM."""

from __future__ import annotations

from dataclasses import dataclass

from slipway_runtime.supervisor.state import PodState


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """In seconds."""

    start: float = 1740  # a minute less than the startup probe allows, so that the pod still reports why it failed
    endpoints: float = 3  # from SIGTERM until every Service, proxy and gateway has removed the pod from its endpoints
    drain: float = 120  # after that, for requests in flight
    cut: float = 2  # for the errors that end the remaining requests to reach their clients

    def of(self, state: PodState) -> float | None:
        """Returns None for a state without a limit."""
        return {
            PodState.STARTING: self.start,
            PodState.LEAVING: self.endpoints,
            PodState.DRAINING: self.drain,
            PodState.CUTTING: self.cut,
        }.get(state)
