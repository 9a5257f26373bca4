"""Reads what engines have measured: `/info` of a model's pod, once for each start of its engine.

Nothing is polled: the watch reports that a pod is ready, its runtime is sent one request, and the LLMDeployment is
reconciled again when there is a response. Without one, there are a few more tries, and then its status stays without.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from slipway.api.model_key import ModelKey
from slipway.observing.compile_report import report_in
from slipway.observing.measured import Load, Measurement, parsers_of, reading_of
from slipway.operator.reconciling.pod_info import get_info

logger = logging.getLogger(__name__)

PAUSES = (0.0, 1.0, 5.0, 30.0, 120.0)
"""Seconds before each try. What a driver reports may come a moment after readiness, and what became of the compile
cache once it is written."""
AT_ONCE, OF_A_NAMESPACE = 32, 4  # requests that wait for a response; no namespace may delay the others for long

Fetch = Callable[[str], Awaitable[bytes | None]]


@dataclass
class _Try:
    load: Load
    task: asyncio.Task[None] | None = None
    found: Measurement | None = None


class Measuring:
    """`changed` is called with the key of a model that has been measured; `fetch` gets the address of a pod."""

    def __init__(
        self, *, changed: Callable[[ModelKey], None], fetch: Fetch = get_info, pauses: Sequence[float] = PAUSES
    ) -> None:
        self._changed, self._fetch, self._pauses = changed, fetch, pauses
        self._tries: dict[ModelKey, _Try] = {}
        self._room = asyncio.Semaphore(AT_ONCE)
        self._rooms: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def measurement(self, key: ModelKey, load: Load | None) -> Measurement | None:
        """What is known of this load. The first call for it starts the reading; None: there is nothing to measure."""
        known = self._tries.get(key)
        if load is None:
            self.forget(key)
            return None
        if known is None or known.load != load:
            self.forget(key)
            known = self._tries[key] = _Try(load)
            known.task = asyncio.create_task(self._measure(key, known), name=f"measuring {key}")
        return known.found

    def forget(self, key: ModelKey) -> None:
        known = self._tries.pop(key, None)
        if known and known.task:
            known.task.cancel()

    async def run(self) -> None:
        """Until it is cancelled: then nothing more is read."""
        try:
            await asyncio.Event().wait()
        finally:
            for key in list(self._tries):
                self.forget(key)

    async def _measure(self, key: ModelKey, wanted: _Try) -> None:
        room = self._rooms.setdefault(key.namespace, asyncio.Semaphore(OF_A_NAMESPACE))
        for pause in self._pauses:
            await asyncio.sleep(pause)
            async with room, self._room:
                info = await self._fetch(wanted.load.address)
            if info is not None and (reading := reading_of(info)):
                found = Measurement(wanted.load, reading, report_in(info), parsers_of(info))
                if found != wanted.found:
                    wanted.found = found
                    self._changed(key)
                if found.compiled is None or found.compiled.is_settled:
                    return
        if wanted.found:
            return
        message = "Pod %s at %s doesn't report what its engine measured, so the plan isn't compared with it"
        logger.info(message, wanted.load.pod, wanted.load.address, extra={"key": str(key)})
