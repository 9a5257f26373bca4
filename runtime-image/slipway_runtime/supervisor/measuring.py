"""What `/info` reports as measured: what the engine has logged of its memory, and what is in use once it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping

from slipway_runtime.contract.pod import MEASURED_DEVICES
from slipway_runtime.engines.measured import measured_in

Use = dict[str, object]


class Measuring:
    """`memory_in_use`: of each device; it is read once."""

    def __init__(self, memory_in_use: Callable[[], list[Use]]) -> None:
        self._memory_in_use = memory_in_use
        self._found: list[Use] | None = None

    def start(self) -> None:
        """In a thread, since a driver may take its time, and no request should wait for it."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop,), name="memory in use", daemon=True).start()

    def measured(self, facts: Mapping[str, str]) -> Mapping[str, object] | None:
        """`facts`: from the engine's log. None: the memory in use wasn't read yet."""
        return None if self._found is None else {**measured_in(facts), MEASURED_DEVICES: self._found}

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            found = self._memory_in_use()
        except Exception:  # a bug here must not keep the pod from serving
            found = []
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._set, found)

    def _set(self, found: list[Use]) -> None:
        self._found = found
