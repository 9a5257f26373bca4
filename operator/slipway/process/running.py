"""How a program lives: its log is set up, it works until it is asked to end, and its exit code says how it went."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from kubernetes.aio.config import ConfigException

from slipway.process import logs

logger = logging.getLogger(__name__)

STARTED_WRONGLY = 2

Work = Coroutine[Any, Any, None]


def run(work: Work, *, log_level: str, log_format: str, loop: Callable[[Work], None] = asyncio.run) -> int:
    """The exit code: 0 when it was asked to end, 2 when it was started wrongly."""
    logs.set_up(level=log_level, format_=log_format)
    try:
        loop(work)
    except ConfigException as error:
        logger.error("No way to an API server (%s): run in a pod, or name a --kubeconfig", error)
        return STARTED_WRONGLY
    return 0


def asked_to_end() -> asyncio.Event:
    """Set by SIGTERM or SIGINT. To be called in the event loop."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked
