"""How every program of Slipway starts, runs and ends: log, event loop, signals, management port, exit code.

`run` is the outer frame, from the command line to the exit code. `serve` is the inner one: it runs the parts of a
program next to each other until SIGTERM or SIGINT arrives or one of them fails, and then ends them in order.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.process import logs
from slipway.process.management import ManagementPort

logger = logging.getLogger(__name__)

WELL, STARTED_WRONGLY = 0, 2
"""Exit codes. A program that fails raises its exception, for which Python's exit code is 1."""

Work = Coroutine[Any, Any, int | None]
Loop = Callable[[Work], int | None]


class CannotStartError(Exception):
    """The program was started wrongly: says what is wrong, with the remedy."""


def run(work: Callable[[asyncio.Event], Work], *, log_level: str, log_format: str, loop: Loop = asyncio.run) -> int:
    """Runs `work` in an event loop and returns the exit code: that of `work`, 2 where it was started wrongly, else 0.

    `work` is called with the event that SIGTERM and SIGINT set.
    """
    logs.set_up(level=log_level, format_=log_format)
    try:
        return loop(_with_signals(work)) or WELL
    except CannotStartError as error:
        logger.error("%s", error)
        return STARTED_WRONGLY


async def _with_signals(work: Callable[[asyncio.Event], Work]) -> int | None:
    asked_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_end.set)
    return await work(asked_to_end)


# --- the parts of a program ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One task of a program, which runs until it is cancelled."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    ends_alone: bool = False  # the stages below don't wait for its end


Stages = Sequence[Sequence[Part]]
"""The lowest first: each stage needs those below it."""


async def serve(stages: Stages, *, name: str, management: ManagementPort, asked_to_end: asyncio.Event) -> None:
    """Until it is asked to end, or a part ends. The exception of a part is raised after an orderly end."""
    async with management.served() as port:
        logger.info("%s answers on port %d", name, port)
        running = [[(part, asyncio.create_task(part.run(), name=part.name)) for part in stage] for stage in stages]
        tasks = [task for stage in running for _, task in stage]
        asked = asyncio.create_task(asked_to_end.wait(), name="asked to end")
        try:
            await asyncio.wait([*tasks, asked], return_when=asyncio.FIRST_COMPLETED)
        finally:
            logger.info("Ending")
            asked.cancel()
            failed = [task for task in tasks if _has_failed(task)]
            await _end(running)
        for task in tasks:
            if task not in failed and _has_failed(task):
                logger.error("%s failed while it ended", task.get_name(), exc_info=task.exception())
        for task in failed:
            task.result()


async def _end(running: Sequence[Sequence[tuple[Part, asyncio.Task[None]]]]) -> None:
    """The highest stage first."""
    for stage in reversed(running):
        for _, task in stage:
            task.cancel()
        if awaited := [task for part, task in stage if not part.ends_alone]:
            await asyncio.wait(awaited)
    await asyncio.wait([task for stage in running for _, task in stage])


def _has_failed(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None
