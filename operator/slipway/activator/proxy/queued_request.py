"""One request in the queue of a model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from slipway.activator.http1.heads import RequestHead
from slipway.activator.proxy.admission import HeldRequest
from slipway.activator.shared.replica import Replica, ReplicaAddress

ReplicaFuture = asyncio.Future[Replica]


@dataclass(eq=False, slots=True)
class QueuedRequest(HeldRequest):
    """One request in the queue, until it is over."""

    head: RequestHead | None = None
    is_demand: bool = True  # or it takes a replica that is free, but doesn't wait for one
    replica: Replica | None = None  # that has it now
    turn: ReplicaFuture | None = None
    held_at: float | None = None  # when it first waited for a replica
    called_at: float | None = None  # when it got a replica, the last time
    is_owed_a_turn: bool = False  # its last turn was of no use, through no fault of its own
    tries: int = 0  # at replicas that may have worked on it
    stores_response: bool = False  # bytes of its response are here, and have their place
    avoided: dict[ReplicaAddress, float] = field(default_factory=dict)  # replicas that it avoids, and until when

    @property
    def was_held(self) -> bool:
        return self.held_at is not None

    @property
    def held(self) -> float:
        """Seconds from its arrival until a replica was free for it; 0 if one was when its body was complete."""
        return self.called_at - self.arrived if self.was_held and self.called_at is not None else 0.0

    def avoids(self, now: float) -> dict[ReplicaAddress, float]:
        return self.avoided and {address: until for address, until in self.avoided.items() if until > now}
