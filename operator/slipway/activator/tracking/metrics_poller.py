"""Asks the engines of ready replicas for their metrics, again and again, but none more than once a second.

The more activators there are, the more seldom each of them asks. Where a pod says which port its metrics have, that is
asked; else the runtime's own first, and where there is none, the engine's.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from slipway.activator.shared.model_key import ModelKey
from slipway.activator.tracking.engine_metrics import EngineMetrics, MetricsReading
from slipway.activator.tracking.poller import Poller, PollTarget
from slipway.api.names import RUNTIME_PORT

log = logging.getLogger(__name__)

EVERY = (1.0, 2.0)  # seconds between two questions to one replica, at least and at most, for each activator
SHARED_BY = 4  # activators at most; what is older than `activity.STALE_AFTER` is worth nothing
TIMEOUT = 3.0
LARGEST = 4 << 20  # bytes of metrics; who says more says nothing

OnReading = Callable[[ModelKey, str, MetricsReading], None]


class MetricsPoller(Poller):
    """`hear` gets each reading."""

    def __init__(self, hear: OnReading) -> None:
        super().__init__(timeout=TIMEOUT)
        self._hear = hear
        self.activators = 1

    async def _ask(self, target: PollTarget) -> None:
        ports = [target.metrics.port] if target.metrics.port else [RUNTIME_PORT, target.port]
        complained = False
        while True:
            reading = await self._reading(target, ports[0])
            if reading:
                self._hear(target.deployment, target.uid, reading)
            else:
                ports.reverse()
                complained = complained or self._complain(target)
            await asyncio.sleep(pause(self.activators))

    async def _reading(self, target: PollTarget, port: int) -> MetricsReading | None:
        metrics, size = EngineMetrics(target.metrics.words), 0

        def take(piece: bytes) -> bool:
            nonlocal size
            size += len(piece)
            metrics.add(piece)
            return size <= LARGEST

        status = await self.ask(target, port, target.metrics.path, take=take)
        return metrics.reading() if status == 200 and size <= LARGEST else None

    def _complain(self, target: PollTarget) -> bool:
        log.info(
            "No metrics that are understood come from the replica at %s yet; until they do, it counts as used",
            target.host,
            extra={"key": str(target.deployment)},
        )
        return True


def pause(activators: int) -> float:
    """Seconds until one of so many activators asks the same replica again, by chance."""
    return random.uniform(*EVERY) * min(activators, SHARED_BY)
