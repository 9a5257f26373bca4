"""Polls the metrics of the engines of ready replicas, each at most once a second.

The more activators there are, the less often each of them polls. If a pod says which port its metrics have, that one is
used; otherwise the runtime's own first, and if it has none, the engine's.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from slipway.activator.tracking.engine_metrics import EngineMetrics, MetricsReading
from slipway.activator.tracking.poller import Poller, PollTarget
from slipway.api.model_key import ModelKey
from slipway.contract.pod import RUNTIME_PORT

logger = logging.getLogger(__name__)

EVERY = (1.0, 2.0)  # seconds between two requests to one replica, at least and at most, for each activator
SHARED_BY = 4  # activators at most; a reading older than `idleness.STALE_AFTER` is of no use
TIMEOUT = 3.0
LARGEST = 4 << 20  # bytes of metrics; a replica that sends more counts as one that sends none

OnReading = Callable[[ModelKey, str, MetricsReading], None]


class MetricsPoller(Poller):
    """Calls `on_reading` with the model, the uid of the pod, and what it reports."""

    def __init__(self, on_reading: OnReading) -> None:
        super().__init__(timeout=TIMEOUT)
        self._on_reading = on_reading
        self.activators = 1

    async def _poll(self, target: PollTarget) -> None:
        ports = [target.metrics.port] if target.metrics.port else [RUNTIME_PORT, target.port]
        is_logged = False
        while True:
            reading = await self._reading(target, ports[0])
            if reading:
                self._on_reading(target.key, target.uid, reading)
            else:
                ports.reverse()
                is_logged = is_logged or self._log(target)
            await asyncio.sleep(pause(self.activators))

    async def _reading(self, target: PollTarget, port: int) -> MetricsReading | None:
        metrics, size = EngineMetrics(target.metrics.words, target.times), 0

        def take(piece: bytes) -> bool:
            nonlocal size
            size += len(piece)
            metrics.add(piece)
            return size <= LARGEST

        status = await self.get(target, port, target.metrics.path, take=take)
        return metrics.reading() if status == 200 and size <= LARGEST else None

    def _log(self, target: PollTarget) -> bool:
        logger.info(
            "The replica at %s exports no metrics yet that the activator can read; until it does, it counts as used",
            target.host,
            extra={"key": str(target.key)},
        )
        return True


def pause(activators: int) -> float:
    """Seconds until one of so many activators polls the same replica again, at random."""
    return random.uniform(*EVERY) * min(activators, SHARED_BY)
