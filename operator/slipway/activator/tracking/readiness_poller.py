"""Asks the pods that start whether they are ready, and hears it from themselves at once.

The kubelet asks once a second, and what it finds takes its time to get here; who is held waits for neither. What is
asked is what the kubelet asks; our own runtime also keeps its answer until it is ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from slipway.activator.tracking.poller import Poller, PollTarget

WAIT = 10.0  # seconds for which a pod may keep its answer until it is ready
OURS = f"/readyz?wait={WAIT:g}"
FIRST_PAUSE, LONGEST_PAUSE, SLOWER = 0.05, 1.0, 1.1
"""Seconds between two questions to a pod that doesn't listen yet, or says at once that it isn't ready."""

OnReady = Callable[[PollTarget], None]


class ReadinessPoller(Poller):
    """`greet` gets each that is ready, once."""

    def __init__(self, greet: OnReady) -> None:
        super().__init__(timeout=WAIT + 5)
        self._greet = greet

    async def _ask(self, target: PollTarget) -> None:
        pause = FIRST_PAUSE
        while not await self._is_ready(target):
            await asyncio.sleep(pause)
            pause = min(pause * SLOWER, LONGEST_PAUSE)
        self._greet(target)

    async def _is_ready(self, target: PollTarget) -> bool:
        return await self.ask(target, target.port, target.path or OURS) == 200
