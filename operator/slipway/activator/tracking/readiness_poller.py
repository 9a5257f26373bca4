"""Polls the pods that start, so that it is known here first when one is ready.

The kubelet probes once a second, and what it finds reaches us late; held requests should not wait for either. We send
the same request as the kubelet; our own runtime delays its response until it is ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from slipway.activator.tracking.poller import Poller, PollTarget

WAIT = 10.0  # seconds for which a pod may delay its response until it is ready
OURS = f"/readyz?wait={WAIT:g}"
FIRST_PAUSE, LONGEST_PAUSE, SLOWER = 0.05, 1.0, 1.1
"""Seconds between two requests to a pod that doesn't listen yet, or responds immediately that it isn't ready."""

OnReady = Callable[[PollTarget], None]


class ReadinessPoller(Poller):
    """Calls `on_ready` once for each that is ready."""

    def __init__(self, on_ready: OnReady) -> None:
        super().__init__(timeout=WAIT + 5)
        self._on_ready = on_ready

    async def _poll(self, target: PollTarget) -> None:
        pause = FIRST_PAUSE
        while not await self._is_ready(target):
            await asyncio.sleep(pause)
            pause = min(pause * SLOWER, LONGEST_PAUSE)
        self._on_ready(target)

    async def _is_ready(self, target: PollTarget) -> bool:
        return await self.get(target, target.port, target.path or OURS) == 200
