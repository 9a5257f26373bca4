"""`slipway-activator`: the program. It ends with 0 when it was asked to, with 2 when it was started wrongly."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence

import uvloop
from kubernetes.aio.config import ConfigException

from slipway.activator.activator import Activator
from slipway.activator.settings import Settings, parse
from slipway.kube.connection import load_configuration
from slipway.process import logs

logger = logging.getLogger(__name__)

STARTED_WRONGLY = 2


def main(arguments: Sequence[str] | None = None) -> int:
    settings = parse(sys.argv[1:] if arguments is None else arguments)
    logs.set_up(level=settings.log_level, format_=settings.log_format)
    try:
        uvloop.run(activate(settings))
    except ConfigException as error:
        logger.error("No way to an API server (%s): run in a pod, or name a --kubeconfig", error)
        return STARTED_WRONGLY
    return 0


async def activate(settings: Settings) -> None:
    """Until SIGTERM or SIGINT."""
    asked_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_end.set)
    await Activator(settings, await load_configuration(settings.kubeconfig)).run(asked_to_end)
