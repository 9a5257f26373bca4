"""What the supervisor needs of its event loop besides asyncio: coalesced signals, and imports that block nothing."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


def coalesced(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> Callable[..., None]:
    """Returns a signal handler that has the loop call `act` once for all signals that arrive before it runs.

    asyncio's own handlers queue one call per signal, and print an error when their queue is full: a fast stream of
    signals would keep the loop from all other work.
    """
    is_due = False

    def run() -> None:
        nonlocal is_due
        is_due = False
        act()

    def handle(*_: object) -> None:
        nonlocal is_due
        if not is_due:
            is_due = True
            loop.call_soon_threadsafe(run)

    return handle


async def imported(module: str) -> Any:
    """Imports a module in a daemon thread.

    The HTTP libraries take a while to import, so they are imported while the engine starts. A thread of asyncio's own
    pool would keep signals and the end of the process waiting for the import.
    """
    outcome: Future[Any] = Future()
    outcome.set_running_or_notify_cancel()

    def load() -> None:
        try:
            outcome.set_result(importlib.import_module(module))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=load, name="import", daemon=True).start()
    return await asyncio.wrap_future(outcome)
